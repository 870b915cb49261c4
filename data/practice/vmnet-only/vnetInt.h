/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the files of this module share: hubs, jacks and ports. */

#ifndef __VNETINT_H__
#define __VNETINT_H__

#include <linux/etherdevice.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/netdevice.h>
#include <linux/poll.h>
#include <linux/skbuff.h>

#include "vm_assert.h"
#include "vm_basic_defs.h"
#include "vnet.h"

#define LOGLEVEL 0

#define LOG(level, args) ((void) (LOGLEVEL >= (level) ? (printk args) : 0))

#define MAX(_a, _b)   (((_a) > (_b)) ? (_a) : (_b))

#define MAC_EQ(_a, _b)         !memcmp((_a), (_b), ETH_ALEN)
#define SKB_2_DESTMAC(_skb)    (((struct ethhdr *)(_skb)->data)->h_dest)

#define VNET_NUM_VNETS         256
#define VNET_MAJOR_NUMBER      119
#define VNET_MAX_FRAME         (ETH_HLEN + 65535)

typedef struct VNetHub VNetHub;
typedef struct VNetJack VNetJack;
typedef struct VNetPort VNetPort;

/* What is plugged into a hub. */
struct VNetJack {
   VNetHub *hub;
   struct list_head link;    // among the hub's jacks

   /* Takes the frame. Runs in softirq or with softirqs off, and may not sleep. */
   void (*rcv)(VNetJack *this, struct sk_buff *skb);
   /* How many frames wait here. */
   unsigned (*queued)(VNetJack *this);
   /* Frees what holds the jack, which is on no hub any more. May sleep. */
   void (*free)(VNetJack *this);
};

/* A jack with an address, which an open file owns. */
struct VNetPort {
   VNetJack jack;
   uint8 paddr[ETH_ALEN];
   unsigned flags;           // IFF_*, as the program set them; read without a lock

   ssize_t (*fileOpRead)(VNetPort *this, struct file *filp, char __user *buf, size_t count);
   ssize_t (*fileOpWrite)(VNetPort *this, struct file *filp, const char __user *buf, size_t count);
   __poll_t (*fileOpPoll)(VNetPort *this, struct file *filp, poll_table *wait);
};

int VNetHub_Connect(VNetJack *jack, int hubNum);
void VNetHub_Disconnect(VNetJack *jack);
int VNetHub_Number(const VNetJack *jack);
unsigned VNetHub_LongestQueue(const VNetJack *jack);
void VNetSend(VNetJack *jack, struct sk_buff *skb);

void VNetMakeAddress(uint8 paddr[ETH_ALEN], int hubNum);
Bool VNetWants(const uint8 *dest, const uint8 *mine, unsigned flags);

int VNetNetIf_HubOf(const struct net_device *dev);

#endif
