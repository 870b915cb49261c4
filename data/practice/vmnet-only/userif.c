// SPDX-License-Identifier: GPL-2.0-or-later

/* A port that a program reads frames from and writes frames to. */

#include "driver-config.h"

#include <linux/kernel.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "vnetInt.h"
#include "vmnetInt.h"

/* Frames for a program that does not read are dropped from here on, as a wire would. */
#define VNET_MAX_QLEN 1024

typedef struct VNetUserIF {
   VNetPort port;
   struct sk_buff_head packetQueue;
   wait_queue_head_t waitQueue;
} VNetUserIF;


static void
VNetUserIfReceive(VNetJack *this,       // IN
                  struct sk_buff *skb)  // IN
{
   VNetUserIF *userIf = container_of(this, VNetUserIF, port.jack);
   unsigned flags = READ_ONCE(userIf->port.flags);

   if (!(flags & IFF_UP) || !VNetWants(SKB_2_DESTMAC(skb), userIf->port.paddr, flags) ||
       skb_queue_len(&userIf->packetQueue) >= VNET_MAX_QLEN) {
      dev_kfree_skb_any(skb);
      return;
   }
   skb_queue_tail(&userIf->packetQueue, skb);
   wake_up(&userIf->waitQueue);
}


static unsigned
VNetUserIfQueued(VNetJack *this)  // IN
{
   return skb_queue_len(&container_of(this, VNetUserIF, port.jack)->packetQueue);
}


static void
VNetUserIfFree(VNetJack *this)  // IN
{
   VNetUserIF *userIf = container_of(this, VNetUserIF, port.jack);

   skb_queue_purge(&userIf->packetQueue);
   kfree(userIf);
}


/* One frame per call; what does not fit in the buffer is cut off, as with a packet socket. */
static ssize_t
VNetUserIfRead(VNetPort *port,     // IN
               struct file *filp,  // IN
               char __user *buf,   // OUT
               size_t count)       // IN
{
   VNetUserIF *userIf = container_of(port, VNetUserIF, port);
   struct sk_buff *skb;
   ssize_t retval;

   while ((skb = skb_dequeue(&userIf->packetQueue)) == NULL) {
      if (filp->f_flags & O_NONBLOCK) {
         return -EAGAIN;
      }
      if (wait_event_interruptible(userIf->waitQueue, !skb_queue_empty(&userIf->packetQueue))) {
         return -ERESTARTSYS;
      }
   }
   retval = min_t(size_t, count, skb->len);
   if (copy_to_user(buf, skb->data, retval)) {
      retval = -EFAULT;
   }
   dev_kfree_skb(skb);
   return retval;
}


static ssize_t
VNetUserIfWrite(VNetPort *port,          // IN
                struct file *filp,       // IN
                const char __user *buf,  // IN
                size_t count)            // IN
{
   struct sk_buff *skb;

   if (count < ETH_HLEN || count > VNET_MAX_FRAME) {
      return -EINVAL;
   }
   /* A cable that is not plugged in takes everything. */
   if (!(READ_ONCE(port->flags) & IFF_UP)) {
      return count;
   }
   skb = alloc_skb(count + NET_IP_ALIGN, GFP_KERNEL);
   if (skb == NULL) {
      return -ENOBUFS;
   }
   skb_reserve(skb, NET_IP_ALIGN);
   if (copy_from_user(skb_put(skb, count), buf, count)) {
      dev_kfree_skb(skb);
      return -EFAULT;
   }
   VNetSend(&port->jack, skb);
   return count;
}


static __poll_t
VNetUserIfPoll(VNetPort *port,     // IN
               struct file *filp,  // IN
               poll_table *wait)   // IN
{
   VNetUserIF *userIf = container_of(port, VNetUserIF, port);
   __poll_t mask = EPOLLOUT | EPOLLWRNORM;

   poll_wait(filp, &userIf->waitQueue, wait);
   if (!skb_queue_empty(&userIf->packetQueue)) {
      mask |= EPOLLIN | EPOLLRDNORM;
   }
   return mask;
}


int
VNetUserIf_Create(VNetPort **ret) // OUT
{
   VNetUserIF *userIf = kzalloc(sizeof *userIf, GFP_KERNEL);

   if (userIf == NULL) {
      return -ENOMEM;
   }
   skb_queue_head_init(&userIf->packetQueue);
   init_waitqueue_head(&userIf->waitQueue);
   userIf->port.jack.rcv = VNetUserIfReceive;
   userIf->port.jack.queued = VNetUserIfQueued;
   userIf->port.jack.free = VNetUserIfFree;
   userIf->port.fileOpRead = VNetUserIfRead;
   userIf->port.fileOpWrite = VNetUserIfWrite;
   userIf->port.fileOpPoll = VNetUserIfPoll;
   *ret = &userIf->port;
   return 0;
}
