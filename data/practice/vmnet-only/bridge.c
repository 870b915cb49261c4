// SPDX-License-Identifier: GPL-2.0-or-later

/* A port that joins a hub to a network interface of the host. */

#include "driver-config.h"

#include <linux/if_arp.h>
#include <linux/kernel.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "vnetInt.h"
#include "vmnetInt.h"

/* On every frame that a bridge sends, so that no bridge takes it for one to carry back. */
#define VNET_BRIDGE_MARK 0x766e6574

typedef struct VNetBridge {
   VNetPort port;
   char name[VNET_NAME_SIZE];
   struct net_device *dev;       // NULL once it is gone; changed under the RTNL
   struct packet_type pt;
   struct notifier_block notifier;
} VNetBridge;


/* From the hub to the interface, and to the host itself where the host would hear it on that wire. */
static void
VNetBridgeReceiveFromVNet(VNetJack *this,       // IN
                          struct sk_buff *skb)  // IN
{
   VNetBridge *bridge = container_of(this, VNetBridge, port.jack);
   struct net_device *dev;
   struct sk_buff *clone = NULL;

   rcu_read_lock();
   dev = READ_ONCE(bridge->dev);
   if (dev == NULL || !netif_running(dev) || skb->len > dev->mtu + dev->hard_header_len) {
      rcu_read_unlock();
      dev_kfree_skb_any(skb);
      return;
   }
   skb->mark = VNET_BRIDGE_MARK;
   if (VNetWants(SKB_2_DESTMAC(skb), dev->dev_addr, 0)) {
      clone = skb_copy(skb, GFP_ATOMIC);
   }
   if (clone != NULL) {
      clone->dev = dev;
      clone->protocol = eth_type_trans(clone, dev);
      netif_rx_ni(clone);
   }
   if (MAC_EQ(SKB_2_DESTMAC(skb), dev->dev_addr)) {
      dev_kfree_skb_any(skb);
   } else {
      skb->protocol = ((struct ethhdr *)skb->data)->h_proto;
      DEV_QUEUE_XMIT(skb, dev, 0);
   }
   rcu_read_unlock();
}


/* From the interface to the hub: what the interface receives, and what the host sends on it. */
static int
VNetBridgeReceiveFromDev(struct sk_buff *skb,          // IN
                         struct net_device *dev,       // IN
                         struct packet_type *pt,       // IN
                         struct net_device *orig_dev)  // IN
{
   VNetBridge *bridge = container_of(pt, VNetBridge, pt);
   struct sk_buff *copy;

   if (skb->mark != VNET_BRIDGE_MARK && skb->pkt_type != PACKET_LOOPBACK) {
      copy = skb_copy(skb, GFP_ATOMIC);
      if (copy != NULL) {
         /* An incoming frame's header has been taken off already. */
         skb_push(copy, copy->data - skb_mac_header(copy));
         VNetSend(&bridge->port.jack, copy);
      }
   }
   consume_skb(skb);
   return 0;
}


/* Lets go of the interface. The caller holds the RTNL. */
static void
VNetBridgeDown(VNetBridge *bridge)  // IN/OUT
{
   struct net_device *dev = bridge->dev;

   if (dev == NULL) {
      return;
   }
   WRITE_ONCE(bridge->dev, NULL);
   dev_remove_pack(&bridge->pt);
   dev_set_promiscuity(dev, -1);
   dev_put(dev);
}


static int
VNetBridgeNotify(struct notifier_block *this,  // IN
                 unsigned long event,          // IN
                 void *data)                   // IN
{
   VNetBridge *bridge = container_of(this, VNetBridge, notifier);

   if (event == NETDEV_UNREGISTER && netdev_notifier_info_to_dev(data) == bridge->dev) {
      LOG(0, (KERN_NOTICE "vmnet: the interface %s is gone; its bridge is down\n", bridge->name));
      VNetBridgeDown(bridge);
   }
   return NOTIFY_DONE;
}


static void
VNetBridgeFree(VNetJack *this)  // IN
{
   VNetBridge *bridge = container_of(this, VNetBridge, port.jack);

   unregister_netdevice_notifier(&bridge->notifier);
   rtnl_lock();
   VNetBridgeDown(bridge);
   rtnl_unlock();
   kfree(bridge);
}


/*
 * Frames that come back in a circle would go round for ever: a bridge from one hub to another one's
 * interface goes to a lower number only.
 */
static Bool
VNetBridgeMakesCircle(const struct net_device *dev,  // IN
                      const VNetJack *hubJack)       // IN
{
   return VNetNetIf_HubOf(dev) >= VNetHub_Number(hubJack);
}


static int
VNetBridgeUp(VNetBridge *bridge,       // IN/OUT
             const VNetJack *hubJack)  // IN
{
   int retval = 0;

   rtnl_lock();
   dev_lock_list();
   bridge->dev = __dev_get_by_name(&init_net, bridge->name);
   if (bridge->dev == NULL) {
      retval = -ENODEV;
   } else if (!(bridge->dev->flags & IFF_UP)) {
      retval = -ENETDOWN;
   } else if (bridge->dev->type != ARPHRD_ETHER || (bridge->dev->flags & IFF_LOOPBACK)) {
      retval = -EINVAL;
   } else if (VNetBridgeMakesCircle(bridge->dev, hubJack)) {
      retval = -ELOOP;
   }
   if (retval == 0) {
      dev_hold(bridge->dev);
   }
   dev_unlock_list();

   if (retval == 0) {
      retval = dev_set_promiscuity(bridge->dev, 1);
      if (retval != 0) {
         dev_put(bridge->dev);
      }
   }
   if (retval == 0) {
      bridge->pt.func = VNetBridgeReceiveFromDev;
      bridge->pt.type = htons(ETH_P_ALL);
      bridge->pt.dev = bridge->dev;
      dev_add_pack(&bridge->pt);
   } else {
      bridge->dev = NULL;
   }
   rtnl_unlock();
   return retval;
}


int
VNetBridge_Create(const char *devName, // IN
                  uint32 flags,        // IN: none so far
                  VNetJack *hubJack,   // IN: on the hub that the port will be on
                  VNetPort **ret)      // OUT
{
   VNetBridge *bridge;
   int retval;

   if (flags != 0) {
      return -EINVAL;
   }
   bridge = kzalloc(sizeof *bridge, GFP_KERNEL);
   if (bridge == NULL) {
      return -ENOMEM;
   }
   snprintf(bridge->name, sizeof bridge->name, "%s", devName);
   VNetMakeAddress(bridge->port.paddr, VNetHub_Number(hubJack));
   bridge->port.jack.rcv = VNetBridgeReceiveFromVNet;
   bridge->port.jack.free = VNetBridgeFree;
   bridge->notifier.notifier_call = VNetBridgeNotify;

   retval = VNetBridgeUp(bridge, hubJack);
   if (retval == 0) {
      retval = register_netdevice_notifier(&bridge->notifier);
      if (retval != 0) {
         rtnl_lock();
         VNetBridgeDown(bridge);
         rtnl_unlock();
      }
   }
   if (retval != 0) {
      kfree(bridge);
      return retval;
   }
   *ret = &bridge->port;
   return 0;
}
