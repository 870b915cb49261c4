/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a program can ask of /dev/vmnetN. */

#ifndef _VNET_H_
#define _VNET_H_

#include <linux/ioctl.h>

#include "vm_basic_types.h"

#define VNET_NAME_SIZE 16

/* How much of a name SIOCNETIF reads; one of this length has no end of its own. */
#define VNET_NETIF_NAME_SIZE 8

/* To which network interface a port becomes a bridge. */
#pragma pack(push, 1)
typedef struct VNet_BridgeParams {
   char name[32];
   uint32 flags;             // none so far
} VNet_BridgeParams;
#pragma pack(pop)

/* These have the numbers and arguments of the product's own calls, so that one program can use both. */
#define SIOCGETAPIVERSION2   _IOWR(0x99, 0xE0, uint32)            /* VNET_API_VERSION */
#define SIOCSPEER3           _IOW(0x99, 0xE4, VNet_BridgeParams)  /* this port becomes a bridge */
#define SIOCGETMACADDR       _IOR(0x99, 0xE5, char[6])
#define SIOCSPORTFLAGS       _IOW(0x99, 0xE6, uint32)             /* IFF_*; a port begins as down */
#define SIOCNETIF            0x99F5                               /* becomes an interface of this name, 8 bytes */

#define IOCTL_VNET_QUEUED    _IOR(0x99, 0x84, uint32)             /* the longest queue on this hub */

/*
 * The version of this interface, as the product's programs compare it.
 */
#define VNET_API_VERSION                (3 << 16 | 0)
#define VNET_API_VERSION_MAJOR(v)       ((uint32) (v) >> 16)
#define VNET_API_VERSION_MINOR(v)       ((uint16) (v))

#endif
