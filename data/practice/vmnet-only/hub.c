// SPDX-License-Identifier: GPL-2.0-or-later

/* Hubs: what comes in on one jack goes out on all others. A hub is there while something is on it. */

#include "driver-config.h"

#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "vnetInt.h"

struct VNetHub {
   int number;
   unsigned numJacks;        // under vnetHubsMutex
   rwlock_t lock;            // of the list
   struct list_head jacks;
};

static DEFINE_MUTEX(vnetHubsMutex);
static VNetHub *vnetHubs[VNET_NUM_VNETS];


/* Plugs a jack into a hub, which is made when nothing is on it yet. */
int
VNetHub_Connect(VNetJack *jack,  // IN/OUT
                int hubNum)      // IN
{
   VNetHub *hub;

   if (hubNum < 0 || hubNum >= VNET_NUM_VNETS) {
      return -ENODEV;
   }
   mutex_lock(&vnetHubsMutex);
   hub = vnetHubs[hubNum];
   if (hub == NULL) {
      hub = kzalloc(sizeof *hub, GFP_KERNEL);
      if (hub == NULL) {
         mutex_unlock(&vnetHubsMutex);
         return -ENOMEM;
      }
      hub->number = hubNum;
      rwlock_init(&hub->lock);
      INIT_LIST_HEAD(&hub->jacks);
      vnetHubs[hubNum] = hub;
   }
   hub->numJacks++;
   write_lock_bh(&hub->lock);
   jack->hub = hub;
   list_add_tail(&jack->link, &hub->jacks);
   write_unlock_bh(&hub->lock);
   mutex_unlock(&vnetHubsMutex);
   return 0;
}


/*
 * Pulls a jack out. Nothing is delivered to it any more when this returns; it still knows its hub
 * until then, for a frame that is on the way out.
 */
void
VNetHub_Disconnect(VNetJack *jack)  // IN/OUT
{
   VNetHub *hub = jack->hub;

   mutex_lock(&vnetHubsMutex);
   write_lock_bh(&hub->lock);
   list_del(&jack->link);
   WRITE_ONCE(jack->hub, NULL);
   write_unlock_bh(&hub->lock);
   if (--hub->numJacks == 0) {
      vnetHubs[hub->number] = NULL;
      /* Senders look at a jack's hub under RCU. */
      synchronize_rcu();
      kfree(hub);
   }
   mutex_unlock(&vnetHubsMutex);
}


int
VNetHub_Number(const VNetJack *jack)  // IN: on a hub
{
   return jack->hub->number;
}


/* How many frames wait on the busiest jack of this one's hub. */
unsigned
VNetHub_LongestQueue(const VNetJack *jack)  // IN: on a hub
{
   VNetHub *hub = jack->hub;
   VNetJack *other;
   unsigned ret = 0;

   read_lock_bh(&hub->lock);
   list_for_each_entry(other, &hub->jacks, link) {
      if (other->queued != NULL) {
         unsigned num = other->queued(other);

         ret = MAX(ret, num);
      }
   }
   read_unlock_bh(&hub->lock);
   return ret;
}


/* Sends a frame to all others on the hub, and takes it over. */
void
VNetSend(VNetJack *jack,       // IN: from where
         struct sk_buff *skb)  // IN
{
   VNetHub *hub;
   VNetJack *other;
   VNetJack *last = NULL;

   rcu_read_lock();
   hub = READ_ONCE(jack->hub);
   if (hub == NULL) {
      rcu_read_unlock();
      dev_kfree_skb_any(skb);
      return;
   }
   read_lock_bh(&hub->lock);
   /* The last one gets the frame itself, the others copies. */
   list_for_each_entry(other, &hub->jacks, link) {
      if (other == jack || other->rcv == NULL) {
         continue;
      }
      if (last != NULL) {
         struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);

         if (copy != NULL) {
            last->rcv(last, copy);
         }
      }
      last = other;
   }
   if (last != NULL) {
      last->rcv(last, skb);
   } else {
      dev_kfree_skb_any(skb);
   }
   read_unlock_bh(&hub->lock);
   rcu_read_unlock();
}


/* An address of the locally administered range, with the hub's number and a random rest. */
void
VNetMakeAddress(uint8 paddr[ETH_ALEN],  // OUT
                int hubNum)             // IN
{
   eth_random_addr(paddr);
   paddr[1] = 0x50;
   paddr[2] = (uint8)hubNum;
}


/* Whether an interface with this address and these flags takes a frame for that destination. */
Bool
VNetWants(const uint8 *dest,  // IN
          const uint8 *mine,  // IN
          unsigned flags)     // IN: IFF_*
{
   return MAC_EQ(dest, mine) || is_multicast_ether_addr(dest) || (flags & IFF_PROMISC) != 0;
}
