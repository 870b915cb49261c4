// SPDX-License-Identifier: GPL-2.0-or-later
// Stands for NVIDIA's vGPU host driver: binds to the card, and offers types of virtual GPU in sysfs as the real
// one does. It makes none.
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static struct kobject *types, *type;
static struct proc_dir_entry *folder;

static ssize_t name_show(struct kobject *k, struct kobj_attribute *a, char *to)
{
	return sysfs_emit(to, "GRID T4-2Q\n");
}
static ssize_t available_instances_show(struct kobject *k, struct kobj_attribute *a, char *to)
{
	return sysfs_emit(to, "8\n");
}
static ssize_t description_show(struct kobject *k, struct kobj_attribute *a, char *to)
{
	return sysfs_emit(to, "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=8\n");
}
static struct kobj_attribute name_attribute = __ATTR_RO(name);
static struct kobj_attribute available = __ATTR_RO(available_instances);
static struct kobj_attribute description = __ATTR_RO(description);
static const struct attribute *const attributes[] = {
	&name_attribute.attr, &available.attr, &description.attr, NULL,
};

static int card_probe(struct pci_dev *card, const struct pci_device_id *id)
{
	types = kobject_create_and_add("mdev_supported_types", &card->dev.kobj);
	if (!types)
		return -ENOMEM;
	type = kobject_create_and_add("nvidia-231", types);
	if (!type || sysfs_create_files(type, (const struct attribute **)attributes)) {
		kobject_put(type);
		kobject_put(types);
		return -ENOMEM;
	}
	return 0;
}

static void card_remove(struct pci_dev *card)
{
	kobject_put(type);
	kobject_put(types);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x10de, 0x1eb8) }, { } };
MODULE_DEVICE_TABLE(pci, ids);
static struct pci_driver driver = { .name = "nvidia", .id_table = ids, .probe = card_probe, .remove = card_remove };

static int version_show(struct seq_file *to, void *unused)
{
	seq_puts(to, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " DRIVER_VERSION "  Fri Nov 27 12:00:00 UTC 2026\n");
	return 0;
}

static int __init nvidia_init(void)
{
	int error = pci_register_driver(&driver);

	if (error)
		return error;
	folder = proc_mkdir("driver/nvidia", NULL);
	if (folder)
		proc_create_single("version", 0444, folder, version_show);
	return 0;
}

static void __exit nvidia_exit(void)
{
	proc_remove(folder);
	pci_unregister_driver(&driver);
}

module_init(nvidia_init);
module_exit(nvidia_exit);
MODULE_DESCRIPTION("Stands for a vGPU host driver in tests");
MODULE_VERSION(DRIVER_VERSION);
MODULE_LICENSE("GPL");
