// SPDX-License-Identifier: GPL-2.0-or-later

/* The module and its device. */

#include "driver-config.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>

#include "vm_assert.h"
#include "hostif.h"
#include "iocontrols.h"
#include "phystrack.h"
#include "vmx86.h"

/* An open file. */
typedef struct Device {
   struct mutex lock;     // one request at a time
   VMDriver *vm;
} Device;

static struct timer_list tscTimer;
static VmTimeStart tscStart;
static uint32 tsckHz;

/* How long the TSC is measured before its rate is told for good. */
#define TSC_SECONDS 4


static int
LinuxDriver_Open(struct inode *inode,  // IN
                 struct file *filp)    // IN/OUT
{
   Device *device = kzalloc(sizeof *device, GFP_KERNEL);

   if (device == NULL) {
      return -ENOMEM;
   }
   device->vm = Vmx86_CreateVM();
   if (device->vm == NULL) {
      kfree(device);
      return -ENOMEM;
   }
   mutex_init(&device->lock);
   filp->private_data = device;
   return 0;
}


static int
LinuxDriver_Close(struct inode *inode,  // IN
                  struct file *filp)    // IN
{
   Device *device = filp->private_data;

   Vmx86_ReleaseVM(device->vm);
   kfree(device);
   return 0;
}


/* A query is as long as it says, and so it is read in two parts. */
static int
LinuxDriverGetMSRs(const void __user *where)  // IN: the address of the query's address
{
   void __user *arg;
   uint64 va;
   MSRQuery in;
   MSRQuery *query;
   size_t size;
   int retval = 0;

   if (!capable(CAP_SYS_RAWIO)) {
      return -EPERM;
   }
   if (copy_from_user(&va, where, sizeof va)) {
      return -EFAULT;
   }
   arg = (void __user *)(uintptr_t)va;
   if (copy_from_user(&in, arg, MSR_QUERY_SIZE(0))) {
      return -EFAULT;
   }
   if (in.numLogicalCPUs == 0 || in.numLogicalCPUs > HostIF_NumCPUs()) {
      return -EINVAL;
   }
   size = MSR_QUERY_SIZE(in.numLogicalCPUs);
   query = kzalloc(size, GFP_KERNEL);
   if (query == NULL) {
      return -ENOMEM;
   }
   query->msrNum = in.msrNum;
   query->numLogicalCPUs = in.numLogicalCPUs;
   Vmx86_GetAllMSRs(query);
   if (copy_to_user(arg, query, size)) {
      retval = -EFAULT;
   }
   kfree(query);
   return retval;
}


static int
LinuxDriverLookup(void __user *arg)  // IN/OUT
{
   VMPageLookup args;
   int retval;

   /* Where memory lies is nobody's business: it helps whoever attacks the memory itself. */
   if (!capable(CAP_SYS_ADMIN)) {
      return -EPERM;
   }
   if (copy_from_user(&args, arg, sizeof args)) {
      return -EFAULT;
   }
   retval = HostIF_LookupUserMPN(args.va, &args.mpn);
   if (retval == 0 && copy_to_user(arg, &args, sizeof args)) {
      retval = -EFAULT;
   }
   return retval;
}


static int
LinuxDriverHash(Device *device,    // IN/OUT
                void __user *arg)  // IN/OUT
{
   VMPageHash args;
   int retval;

   if (copy_from_user(&args, arg, sizeof args)) {
      return -EFAULT;
   }
   if (args.numPages > VMMON_MAX_HASH_PAGES || (args.va & ~PAGE_MASK) != 0) {
      return -EINVAL;
   }
   retval = HostIF_HashUserPages(device->vm, args.va, args.numPages, &args.digest);
   args.numTracked = PhysTrack_Count(device->vm->tracker);
   if (retval == 0 && copy_to_user(arg, &args, sizeof args)) {
      retval = -EFAULT;
   }
   return retval;
}


static long
LinuxDriver_Ioctl(struct file *filp,    // IN
                  unsigned int iocmd,   // IN
                  unsigned long ioarg)  // IN/OUT
{
   Device *device = filp->private_data;
   void __user *arg = (void __user *)ioarg;
   long retval;

   if (mutex_lock_interruptible(&device->lock)) {
      return -ERESTARTSYS;
   }
   switch (iocmd) {
   case IOCTL_VMX86_VERSION:
      retval = VMMON_VERSION;
      break;

   case IOCTL_VMX86_GET_KHZ_ESTIMATE: {
      uint32 khz = READ_ONCE(tsckHz);

      retval = khz != 0 ? khz : Vmx86_TSCkHzSince(&tscStart);
      break;
   }

   case IOCTL_VMMON_UPTIME:
      retval = put_user(HostIF_ReadUptime(), (uint64 __user *)arg);
      break;

   case IOCTL_VMX86_GET_ALL_MSRS:
      retval = LinuxDriverGetMSRs(arg);
      break;

   case IOCTL_VMMON_LOOKUP:
      retval = LinuxDriverLookup(arg);
      break;

   case IOCTL_VMMON_HASH:
      retval = LinuxDriverHash(device, arg);
      break;

   default:
      retval = -ENOTTY;
      break;
   }
   mutex_unlock(&device->lock);
   return retval;
}


static const struct file_operations vmuser_fops = {
   .owner = THIS_MODULE,
   .open = LinuxDriver_Open,
   .release = LinuxDriver_Close,
   .unlocked_ioctl = LinuxDriver_Ioctl,
};

static struct miscdevice vmmon_miscdev = {
   .name = "vmmon",
   .minor = MISC_DYNAMIC_MINOR,
   .fops = &vmuser_fops,
};


static void
LinuxDriverTSCMeasured(struct timer_list *timer)  // IN
{
   WRITE_ONCE(tsckHz, Vmx86_TSCkHzSince(&tscStart));
}


int
init_module(void)
{
   int retval;

   HostIF_InitUptime();
   Vmx86_Now(&tscStart);
   timer_setup(&tscTimer, LinuxDriverTSCMeasured, 0);
   mod_timer(&tscTimer, jiffies + TSC_SECONDS * HZ);

   /* Last, because a program can open the device from here on. */
   retval = misc_register(&vmmon_miscdev);
   if (retval) {
      Warning("cannot register the device: error %d\n", retval);
      del_timer_sync(&tscTimer);
      HostIF_CleanupUptime();
      return retval;
   }
   Log("initialized, version %u.%u\n", VMMON_VERSION_MAJOR(VMMON_VERSION),
       VMMON_VERSION_MINOR(VMMON_VERSION));
   return 0;
}


void
cleanup_module(void)
{
   misc_deregister(&vmmon_miscdev);
   del_timer_sync(&tscTimer);
   HostIF_CleanupUptime();
   Log("unloaded\n");
}


MODULE_AUTHOR("The Hostwright authors");
MODULE_DESCRIPTION("Hostwright's practice stand-in for VMware's vmmon");
MODULE_LICENSE("GPL");
MODULE_VERSION("410.0");
