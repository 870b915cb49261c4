// SPDX-License-Identifier: GPL-2.0-or-later

/* The module, its character device, and the ports that its open files own. */

#include "driver-config.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vnetInt.h"
#include "vmnetInt.h"

/* One per kind of port, each in its own file. */
extern int VNetUserIf_Create(VNetPort **ret);
extern int VNetNetIf_Create(char *devName, VNetPort **ret, int hubNum);
extern int VNetBridge_Create(const char *devName, uint32 flags, VNetJack *hubJack,
                             VNetPort **ret);

/* An open file. Its port is another one after VNetReplacePort. */
typedef struct VNetFile {
   struct mutex lock;
   VNetPort *port;
   atomic_t users;           // who reads, writes or polls the port right now
} VNetFile;


static int
VNetFileOpOpen(struct inode *inode,  // IN: whose minor number is the hub's
               struct file *filp)    // IN/OUT
{
   int hubNum = iminor(inode);
   VNetFile *file;
   int retval;

   if (hubNum >= VNET_NUM_VNETS) {
      return -ENODEV;
   }
   file = kzalloc(sizeof *file, GFP_KERNEL);
   if (file == NULL) {
      return -ENOMEM;
   }
   mutex_init(&file->lock);
   retval = VNetUserIf_Create(&file->port);
   if (retval == 0) {
      VNetMakeAddress(file->port->paddr, hubNum);
      retval = VNetHub_Connect(&file->port->jack, hubNum);
      if (retval != 0) {
         file->port->jack.free(&file->port->jack);
      }
   }
   if (retval != 0) {
      kfree(file);
      return retval;
   }
   filp->private_data = file;
   return 0;
}


static int
VNetFileOpClose(struct inode *inode,  // IN
                struct file *filp)    // IN
{
   VNetFile *file = filp->private_data;

   VNetHub_Disconnect(&file->port->jack);
   file->port->jack.free(&file->port->jack);
   kfree(file);
   return 0;
}


/* The port, kept from being replaced until VNetPutPort; it may be waited on without the lock. */
static VNetPort *
VNetGetPort(VNetFile *file)  // IN/OUT
{
   VNetPort *port;

   mutex_lock(&file->lock);
   port = file->port;
   atomic_inc(&file->users);
   mutex_unlock(&file->lock);
   return port;
}


static void
VNetPutPort(VNetFile *file)  // IN/OUT
{
   atomic_dec(&file->users);
}


static ssize_t
VNetFileOpRead(struct file *filp,  // IN
               char __user *buf,   // OUT
               size_t count,       // IN
               loff_t *ppos)       // IN: not used, there is no place in a wire
{
   VNetFile *file = filp->private_data;
   VNetPort *port = VNetGetPort(file);
   ssize_t retval = port->fileOpRead ? port->fileOpRead(port, filp, buf, count) : -EINVAL;

   VNetPutPort(file);
   return retval;
}


static ssize_t
VNetFileOpWrite(struct file *filp,       // IN
                const char __user *buf,  // IN
                size_t count,            // IN
                loff_t *ppos)            // IN
{
   VNetFile *file = filp->private_data;
   VNetPort *port = VNetGetPort(file);
   ssize_t retval = port->fileOpWrite ? port->fileOpWrite(port, filp, buf, count) : -EINVAL;

   VNetPutPort(file);
   return retval;
}


static __poll_t
VNetFileOpPoll(struct file *filp,  // IN
               poll_table *wait)   // IN
{
   VNetFile *file = filp->private_data;
   VNetPort *port;
   __poll_t mask;

   mutex_lock(&file->lock);
   port = file->port;
   mask = port->fileOpPoll ? port->fileOpPoll(port, filp, wait) : EPOLLERR;
   /* Whoever polls stays on the port's queue after this returns: keep that port. */
   atomic_inc(&file->users);
   mutex_unlock(&file->lock);
   return mask;
}


/*
 * Puts a port of another kind in the place of this file's. Refused while somebody reads or writes,
 * and for good after a poll. The caller holds the lock.
 */
static int
VNetReplacePort(VNetFile *file,   // IN/OUT
                VNetPort *port)   // IN: connected to no hub yet
{
   VNetPort *old = file->port;
   int retval;

   retval = VNetHub_Connect(&port->jack, VNetHub_Number(&old->jack));
   if (retval != 0) {
      return retval;
   }
   file->port = port;
   VNetHub_Disconnect(&old->jack);
   old->jack.free(&old->jack);
   return 0;
}


static long
VNetSwitchPort(VNetFile *file,      // IN/OUT
               unsigned int iocmd,  // IN
               void __user *arg)    // IN
{
   VNet_BridgeParams params = { .flags = 0 };
   size_t size = iocmd == SIOCNETIF ? VNET_NETIF_NAME_SIZE : sizeof params;
   VNetPort *port;
   int retval;

   if (!capable(CAP_NET_ADMIN)) {
      return -EPERM;
   }
   if (copy_from_user(&params, arg, size)) {
      return -EFAULT;
   }
   params.name[VNET_NAME_SIZE - 1] = '\0';
   if (atomic_read(&file->users) != 0) {
      return -EBUSY;
   }
   if (iocmd == SIOCNETIF) {
      retval = VNetNetIf_Create(params.name, &port, VNetHub_Number(&file->port->jack));
   } else {
      retval = VNetBridge_Create(params.name, params.flags, &file->port->jack, &port);
   }
   if (retval != 0) {
      return retval;
   }
   retval = VNetReplacePort(file, port);
   if (retval != 0) {
      port->jack.free(&port->jack);
   }
   return retval;
}


static long
VNetFileOpUnlockedIoctl(struct file *filp,    // IN
                        unsigned int iocmd,   // IN
                        unsigned long ioarg)  // IN/OUT
{
   VNetFile *file = filp->private_data;
   void __user *arg = (void __user *)ioarg;
   long retval;

   mutex_lock(&file->lock);
   switch (iocmd) {
   case SIOCGETAPIVERSION2:
      retval = put_user((uint32)VNET_API_VERSION, (uint32 __user *)arg);
      break;

   case SIOCNETIF:
   case SIOCSPEER3:
      retval = VNetSwitchPort(file, iocmd, arg);
      break;

   case SIOCGETMACADDR:
      retval = copy_to_user(arg, file->port->paddr, ETH_ALEN) ? -EFAULT : 0;
      break;

   case SIOCSPORTFLAGS: {
      uint32 flags;

      retval = get_user(flags, (uint32 __user *)arg);
      if (retval == 0) {
         WRITE_ONCE(file->port->flags, flags);
      }
      break;
   }

   case IOCTL_VNET_QUEUED:
      retval = put_user((uint32)VNetHub_LongestQueue(&file->port->jack), (uint32 __user *)arg);
      break;

   default:
      retval = -ENOTTY;
      break;
   }
   mutex_unlock(&file->lock);
   return retval;
}


static const struct file_operations vnetFileOps = {
   .owner = THIS_MODULE,
   .open = VNetFileOpOpen,
   .release = VNetFileOpClose,
   .read = VNetFileOpRead,
   .write = VNetFileOpWrite,
   .poll = VNetFileOpPoll,
   .unlocked_ioctl = VNetFileOpUnlockedIoctl,
};


int
init_module(void)
{
   int retval = register_chrdev(VNET_MAJOR_NUMBER, "vmnet", &vnetFileOps);

   if (retval) {
      LOG(0, (KERN_NOTICE "vmnet: cannot register major number %d: error %d\n",
              VNET_MAJOR_NUMBER, retval));
   }
   return retval;
}


void
cleanup_module(void)
{
   unregister_chrdev(VNET_MAJOR_NUMBER, "vmnet");
}


MODULE_AUTHOR("The Hostwright authors");
MODULE_DESCRIPTION("Hostwright's practice stand-in for VMware's vmnet");
MODULE_LICENSE("GPL");
MODULE_VERSION("3.0");
