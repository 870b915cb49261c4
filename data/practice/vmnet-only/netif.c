// SPDX-License-Identifier: GPL-2.0-or-later

/* A port that is a network interface of the host. */

#include "driver-config.h"

#include <linux/etherdevice.h>
#include <linux/kernel.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

#include "vnetInt.h"
#include "vmnetInt.h"

typedef struct VNetNetIF {
   VNetPort port;
   struct net_device *dev;
   int hubNum;
   struct rtnl_link_stats64 stats;
} VNetNetIF;

/* The private part of the device: the port outlives no device, but is allocated on its own. */
#define NETIF_OF(_dev) (*(VNetNetIF **)netdev_priv(_dev))


static int
VNetNetIfOpen(struct net_device *dev)  // IN
{
   netif_start_queue(dev);
   return 0;
}


static int
VNetNetIfClose(struct net_device *dev)  // IN
{
   netif_stop_queue(dev);
   return 0;
}


/* From the host's network to the hub. */
static netdev_tx_t
VNetNetIfStartXmit(struct sk_buff *skb,     // IN
                   struct net_device *dev)  // IN
{
   VNetNetIF *netIf = NETIF_OF(dev);

   if (skb_linearize(skb) != 0) {
      netIf->stats.tx_dropped++;
      dev_kfree_skb_any(skb);
      return NETDEV_TX_OK;
   }
   netIf->stats.tx_packets++;
   netIf->stats.tx_bytes += skb->len;
   skb_orphan(skb);
   VNetSend(&netIf->port.jack, skb);
   return NETDEV_TX_OK;
}


static int
VNetNetIfSetMAC(struct net_device *dev,  // IN/OUT
                void *p)                 // IN: a struct sockaddr
{
   VNetNetIF *netIf = NETIF_OF(dev);
   struct sockaddr *addr = p;

   if (!is_valid_ether_addr(addr->sa_data)) {
      return -EADDRNOTAVAIL;
   }
   memcpy(netIf->port.paddr, addr->sa_data, dev->addr_len);
   memcpy(dev->dev_addr, addr->sa_data, dev->addr_len);
   return 0;
}


static void
VNetNetIfStats(struct net_device *dev,           // IN
               struct rtnl_link_stats64 *stats)  // OUT
{
   *stats = NETIF_OF(dev)->stats;
}


static const struct net_device_ops vnetNetIfOps = {
   .ndo_open = VNetNetIfOpen,
   .ndo_stop = VNetNetIfClose,
   .ndo_start_xmit = VNetNetIfStartXmit,
   .ndo_set_mac_address = VNetNetIfSetMAC,
   .ndo_get_stats64 = VNetNetIfStats,
};


/* From the hub to the host's network. */
static void
VNetNetIfReceive(VNetJack *this,       // IN
                 struct sk_buff *skb)  // IN
{
   VNetNetIF *netIf = container_of(this, VNetNetIF, port.jack);
   struct net_device *dev = netIf->dev;

   if (!netif_running(dev) || !VNetWants(SKB_2_DESTMAC(skb), dev->dev_addr, dev->flags)) {
      dev_kfree_skb_any(skb);
      return;
   }
   netIf->stats.rx_packets++;
   netIf->stats.rx_bytes += skb->len;

   skb->dev = dev;
   skb->protocol = eth_type_trans(skb, dev);
   netif_rx_ni(skb);
}


static void
VNetNetIfFree(VNetJack *this)  // IN
{
   VNetNetIF *netIf = container_of(this, VNetNetIF, port.jack);

   unregister_netdev(netIf->dev);
   free_netdev(netIf->dev);
   kfree(netIf);
}


static void
VNetNetIfSetup(struct net_device *dev)  // IN/OUT
{
   ether_setup(dev);
   dev->netdev_ops = &vnetNetIfOps;
}


/* Makes the interface; what it is given is dropped until the caller plugs the port into the hub. */
int
VNetNetIf_Create(char *devName,  // IN
                 VNetPort **ret, // OUT
                 int hubNum)     // IN
{
   VNetNetIF *netIf;
   struct net_device *dev;
   int retval;

   if (!dev_valid_name(devName)) {
      return -EINVAL;
   }
   netIf = kzalloc(sizeof *netIf, GFP_KERNEL);
   if (netIf == NULL) {
      return -ENOMEM;
   }
   dev = alloc_netdev(sizeof (VNetNetIF *), devName, NET_NAME_USER, VNetNetIfSetup);
   if (dev == NULL) {
      kfree(netIf);
      return -ENOMEM;
   }
   NETIF_OF(dev) = netIf;
   netIf->dev = dev;
   netIf->hubNum = hubNum;
   netIf->port.jack.rcv = VNetNetIfReceive;
   netIf->port.jack.free = VNetNetIfFree;

   VNetMakeAddress(netIf->port.paddr, hubNum);
   memcpy(dev->dev_addr, netIf->port.paddr, sizeof netIf->port.paddr);

   retval = register_netdev(dev);
   if (retval != 0) {
      LOG(0, (KERN_NOTICE "vmnet: cannot register the interface %s: error %d\n", devName, retval));
      free_netdev(dev);
      kfree(netIf);
      return retval;
   }
   *ret = &netIf->port;
   return 0;
}


/* The hub that an interface of this module is on, or -1 for any other interface. */
int
VNetNetIf_HubOf(const struct net_device *dev)  // IN
{
   return dev->netdev_ops == &vnetNetIfOps ? NETIF_OF(dev)->hubNum : -1;
}
