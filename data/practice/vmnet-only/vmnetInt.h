/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What this module asks of Linux, under names of its own. */

#ifndef __VMNETINT_H__
#define __VMNETINT_H__

#include "driver-config.h"

#define DEV_QUEUE_XMIT(skb, dev, pri)   (                        \
    (skb)->dev = (dev),                                          \
    (skb)->priority = (pri),                                     \
    skb_reset_mac_header(skb),                                   \
    skb_set_network_header(skb, sizeof (struct ethhdr)),         \
    dev_queue_xmit(skb)                                          \
  )
#define dev_lock_list()    read_lock(&dev_base_lock)
#define dev_unlock_list()  read_unlock(&dev_base_lock)

#endif
