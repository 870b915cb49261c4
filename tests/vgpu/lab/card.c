// SPDX-License-Identifier: GPL-2.0-or-later
// A PCI domain of its own with one card in it: an NVIDIA Tesla T4, or a GeForce RTX 2080, as far as its ids go. It
// stands for hardware that is not here, and is loaded before anything looks for cards.
#include <linux/module.h>
#include <linux/pci.h>

static struct pci_sysdata domain = { .domain = 0x41, .node = NUMA_NO_NODE };
static struct resource numbers = { .name = "card", .start = 0, .end = 0, .flags = IORESOURCE_BUS };
static struct pci_bus *bus;
static bool consumer;
module_param(consumer, bool, 0444);
MODULE_PARM_DESC(consumer, "a GeForce RTX 2080");

// Configuration space (PCI Local Bus 3.0, 6.1): 10de:1eb8, revision a1, class 0302, subsystem 10de:12a2, no BARs.
static u8 space[256] = {
	[0x00] = 0xde, [0x01] = 0x10, [0x02] = 0xb8, [0x03] = 0x1e,
	[0x08] = 0xa1, [0x0a] = 0x02, [0x0b] = 0x03,
	[0x2c] = 0xde, [0x2d] = 0x10, [0x2e] = 0xa2, [0x2f] = 0x12,
};

static int card_read(struct pci_bus *on, unsigned int devfn, int where, int size, u32 *value)
{
	*value = ~0U;
	if (devfn != 0 || where + size > (int)sizeof(space))
		return PCIBIOS_DEVICE_NOT_FOUND;
	*value = 0;
	memcpy(value, &space[where], size);
	return PCIBIOS_SUCCESSFUL;
}

static int card_write(struct pci_bus *on, unsigned int devfn, int where, int size, u32 value)
{
	// Only the command register keeps what is written.
	if (devfn == 0 && where == PCI_COMMAND && size == 2)
		memcpy(&space[where], &value, size);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops ops = { .read = card_read, .write = card_write };

static int __init card_init(void)
{
	LIST_HEAD(resources);

	// 10de:1e87, class 0300.
	if (consumer) {
		space[PCI_DEVICE_ID] = 0x87;
		space[PCI_CLASS_DEVICE] = 0x00;
	}
	pci_add_resource(&resources, &numbers);
	bus = pci_scan_root_bus(NULL, 0, &ops, &domain, &resources);
	if (!bus)
		return -ENODEV;
	pci_bus_add_devices(bus);
	return 0;
}

// Hardware is not unplugged.
module_init(card_init);
MODULE_DESCRIPTION("A PCI card for tests");
MODULE_LICENSE("GPL");
