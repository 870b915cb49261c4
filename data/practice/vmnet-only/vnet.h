/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a program can ask of /dev/vmnetN. */

#ifndef _VNET_H_
#define _VNET_H_

#include <linux/ioctl.h>

#include "vm_basic_types.h"

#define VNET_NAME_SIZE 16

/* The name of a network interface. */
typedef struct VNet_Name {
   char name[VNET_NAME_SIZE];
} VNet_Name;

/* An address on a hub. */
typedef struct VNet_Addr {
   uint8 paddr[6];
} VNet_Addr;

#define IOCTL_VNET_VERSION   _IOR(0x99, 0x80, uint32)     /* VNET_API_VERSION */
#define IOCTL_VNET_NETIF     _IOW(0x99, 0x81, VNet_Name)  /* this port becomes an interface */
#define IOCTL_VNET_BRIDGE    _IOW(0x99, 0x82, VNet_Name)  /* this port becomes a bridge to one */
#define IOCTL_VNET_GETADDR   _IOR(0x99, 0x83, VNet_Addr)
#define IOCTL_VNET_QUEUED    _IOR(0x99, 0x84, uint32)     /* the longest queue on this hub */

/*
 * The version of this interface, as the product's programs compare it.
 */
#define VNET_API_VERSION                (3 << 16 | 0)
#define VNET_API_VERSION_MAJOR(v)       ((uint32) (v) >> 16)
#define VNET_API_VERSION_MINOR(v)       ((uint16) (v))

#endif
