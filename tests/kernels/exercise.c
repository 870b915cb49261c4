// SPDX-License-Identifier: GPL-2.0-or-later

/*
 * The first process of a small VM: inserts the modules, uses what they are for, removes them and
 * powers off. With exercise=load on the kernel's command line it only opens their devices, as is
 * right for modules that are not the practice ones. What fails is printed and nothing after it runs;
 * the last line is "exercise: passed" or "exercise: FAILED".
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmmon-only/include/iocontrols.h"
#include "vmmon-only/include/x86msr.h"
#include "vmnet-only/vnet.h"

#define CHECK(_cond, ...)                                                       \
   do {                                                                         \
      if (!(_cond)) {                                                           \
         printf("exercise: %s:%d: %s: ", __FILE__, __LINE__, #_cond);           \
         printf(__VA_ARGS__);                                                   \
         printf(" (%s)\nexercise: FAILED\n", strerror(errno));                  \
         finish();                                                              \
      }                                                                         \
   } while (0)

static void finish(void)
{
   fflush(stdout);
   sync();
   if (getpid() == 1) {
      reboot(RB_POWER_OFF);
   }
   exit(1);
}

static void insert(const char *path)
{
   int fd = open(path, O_RDONLY | O_CLOEXEC);

   CHECK(fd >= 0, "open %s", path);
   CHECK(syscall(SYS_finit_module, fd, "", 0) == 0, "insert %s", path);
   close(fd);
}

static int vmnet(int hub)
{
   char path[32];
   int fd;

   /* The kernel makes no node for a character device that is only a major number. */
   snprintf(path, sizeof path, "/dev/vmnet%d", hub);
   CHECK(mknod(path, S_IFCHR | 0600, makedev(119, hub)) == 0 || errno == EEXIST, "mknod %s", path);
   fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
   CHECK(fd >= 0, "open %s", path);
   return fd;
}

static void use_vmmon(void)
{
   const size_t page = 4096, pages = 4096;
   struct { MSRQuery query; MSRReply more[63]; } msrs;
   VMPageLookup lookup = { 0 };
   VMPageHash one = { 0 }, two = { 0 };
   uint32_t khz = 0;
   uint64_t before = 0, after = 0;
   unsigned char *memory;
   int cpus = sysconf(_SC_NPROCESSORS_ONLN);
   int fd = open("/dev/vmmon", O_RDWR | O_CLOEXEC);

   CHECK(fd >= 0, "open /dev/vmmon");
   CHECK(ioctl(fd, IOCTL_VMMON_VERSION) == VMMON_VERSION, "version");
   CHECK(ioctl(fd, IOCTL_VMMON_UPTIME, &before) == 0, "uptime");

   memory = mmap(NULL, page * pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
   CHECK(memory != MAP_FAILED, "memory");
   for (size_t i = 0; i < page * pages; i += 8) {
      memcpy(memory + i, &(uint64_t){ i * 0x9e3779b97f4a7c15ULL }, 8);
   }
   lookup.va = (uintptr_t)memory;
   CHECK(ioctl(fd, IOCTL_VMMON_LOOKUP, &lookup) == 0, "look up a page");
   CHECK(lookup.mpn != 0 && lookup.mpn < INVALID_MPN, "frame %llx", (unsigned long long)lookup.mpn);
   /* The kernel's own account of the same page is the judge. */
   uint64_t entry = 0;
   int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
   CHECK(pagemap >= 0 && pread(pagemap, &entry, 8, (uintptr_t)memory / page * 8) == 8, "pagemap");
   CHECK((entry & ((1ULL << 55) - 1)) == lookup.mpn, "pagemap says %llx, vmmon %llx",
         (unsigned long long)(entry & ((1ULL << 55) - 1)), (unsigned long long)lookup.mpn);
   lookup.va = 0;
   CHECK(ioctl(fd, IOCTL_VMMON_LOOKUP, &lookup) != 0 && errno == EFAULT, "an address that is none");

   one.va = two.va = (uintptr_t)memory;
   one.numPages = two.numPages = pages;
   CHECK(ioctl(fd, IOCTL_VMMON_HASH, &one) == 0, "hash");
   CHECK(ioctl(fd, IOCTL_VMMON_HASH, &two) == 0, "hash again");
   CHECK(one.digest == two.digest && one.digest != 0, "the digests differ");
   CHECK(two.numTracked == pages, "%u frames tracked", two.numTracked);
   memory[page * pages - 1] ^= 1;
   CHECK(ioctl(fd, IOCTL_VMMON_HASH, &two) == 0, "hash of a changed page");
   CHECK(one.digest != two.digest, "a changed page went unnoticed");
   CHECK(ioctl(fd, IOCTL_VMMON_UPTIME, &after) == 0 && after > before, "the clock stands still");
   printf("exercise: digest %016llx\n", (unsigned long long)one.digest);

   memset(&msrs, 0, sizeof msrs);
   msrs.query.msrNum = 0xc0000080; /* EFER: never 0 on a CPU in 64-bit mode */
   msrs.query.numLogicalCPUs = cpus;
   CHECK(ioctl(fd, IOCTL_VMMON_GET_MSRS, &msrs) == 0, "MSRs");
   CHECK((int)msrs.query.numLogicalCPUs == cpus, "%u CPUs answered", msrs.query.numLogicalCPUs);
   for (int i = 0; i < cpus; i++) {
      CHECK(((MSRReply *)msrs.query.logicalCPUs)[i].msrVal != 0, "CPU %d did not answer", i);
   }
   msrs.query.msrNum = 0x7fffffff;
   CHECK(ioctl(fd, IOCTL_VMMON_GET_MSRS, &msrs) == 0, "an MSR that is none");
   CHECK(msrs.query.logicalCPUs[0].msrVal == 0, "an MSR that is none has a value");
   CHECK(ioctl(fd, IOCTL_VMMON_TSC_KHZ, &khz) == 0 && khz > 1000, "TSC at %u kHz", khz);
   close(fd);
}

static void up(const char *name)
{
   struct ifreq ifr = { 0 };
   int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

   snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
   CHECK(ioctl(s, SIOCGIFFLAGS, &ifr) == 0, "flags of %s", name);
   ifr.ifr_flags |= IFF_UP;
   CHECK(ioctl(s, SIOCSIFFLAGS, &ifr) == 0, "%s up", name);
   close(s);
}

/* Waits for a frame with this text, passing over what the host sends on its own. */
static void expect(int fd, const char *text)
{
   unsigned char frame[2048];

   for (;;) {
      struct pollfd p = { .fd = fd, .events = POLLIN };
      ssize_t n;

      CHECK(poll(&p, 1, 5000) == 1, "no frame with \"%s\"", text);
      n = read(fd, frame, sizeof frame);
      CHECK(n >= 14, "read");
      if (n >= 14 + (ssize_t)strlen(text) && memcmp(frame + 14, text, strlen(text)) == 0) {
         return;
      }
   }
}

static void put(int fd, const char *text)
{
   unsigned char frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };

   memcpy(frame + 14, text, strlen(text));
   CHECK(write(fd, frame, sizeof frame) == sizeof frame, "write \"%s\"", text);
}

static void use_vmnet(void)
{
   VNet_Name nine = { "vmnet9" }, none = { "no-such" };
   struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
   struct sockaddr mac = { .sa_family = 1, .sa_data = { 2, 0, 0, 0, 0, 9 } };
   struct ifreq ifr = { 0 };
   uint32_t version = 0, queued = 0;
   unsigned char byte;
   int a = vmnet(9), b = vmnet(9), other = vmnet(10), raw, netif, bridge, refused;

   CHECK(ioctl(a, IOCTL_VNET_VERSION, &version) == 0 && version == VNET_API_VERSION, "version");

   /* One hub: everybody else hears it, the sender and other hubs do not. */
   put(a, "one hub");
   CHECK(ioctl(b, IOCTL_VNET_QUEUED, &queued) == 0 && queued == 1, "%u frames wait", queued);
   expect(b, "one hub");
   CHECK(read(a, &byte, 1) == -1 && errno == EAGAIN, "the sender heard itself");
   CHECK(read(other, &byte, 1) == -1 && errno == EAGAIN, "another hub heard it");
   CHECK(write(a, "short", 5) == -1 && errno == EINVAL, "a frame without a header was taken");

   /* A network interface on the hub, both ways. */
   netif = vmnet(9);
   CHECK(ioctl(netif, IOCTL_VNET_NETIF, &nine) == 0, "make vmnet9");
   up("vmnet9");
   ll.sll_ifindex = if_nametoindex("vmnet9");
   raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
   CHECK(raw >= 0 && bind(raw, (struct sockaddr *)&ll, sizeof ll) == 0, "packet socket");
   put(a, "to the host");
   expect(raw, "to the host");
   put(raw, "from the host");
   expect(a, "from the host");

   /* Its address can be changed, and the change is seen. */
   strcpy(ifr.ifr_name, "vmnet9");
   ifr.ifr_hwaddr = mac;
   int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
   CHECK(ioctl(s, SIOCSIFHWADDR, &ifr) == 0, "set the address");
   memset(&ifr.ifr_hwaddr, 0, sizeof ifr.ifr_hwaddr);
   CHECK(ioctl(s, SIOCGIFHWADDR, &ifr) == 0, "get the address");
   CHECK(memcmp(ifr.ifr_hwaddr.sa_data, mac.sa_data, 6) == 0, "the address did not change");
   close(s);

   /* A second hub bridged to that interface, both ways; no circles. */
   bridge = vmnet(10);
   CHECK(ioctl(bridge, IOCTL_VNET_BRIDGE, &none) == -1 && errno == ENODEV, "bridge to nothing");
   CHECK(ioctl(bridge, IOCTL_VNET_BRIDGE, &nine) == 0, "bridge");
   refused = vmnet(9);
   CHECK(ioctl(refused, IOCTL_VNET_BRIDGE, &nine) == -1 && errno == ELOOP, "a circle");
   put(other, "over the bridge");
   expect(a, "over the bridge");
   expect(raw, "over the bridge");
   put(a, "and back");
   expect(other, "and back");

   /* The interface goes first; the bridge lets go of it. */
   close(netif);
   CHECK(if_nametoindex("vmnet9") == 0, "vmnet9 is still there");
   put(other, "to nobody");
   close(bridge);
   close(refused);
   close(raw);
   close(other);
   close(b);
   close(a);
}

int main(void)
{
   static const char *modules[] = { "vmmon", "vmnet" };

   setvbuf(stdout, NULL, _IOLBF, 0);
   mkdir("/proc", 0755);
   mkdir("/dev", 0755);
   CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0, "/proc");
   CHECK(mount("dev", "/dev", "devtmpfs", 0, NULL) == 0 || errno == EBUSY, "/dev");
   for (int i = 0; i < 2; i++) {
      char path[32];

      snprintf(path, sizeof path, "/%s.ko", modules[i]);
      insert(path);
   }
   /* What the kernel does not know on its command line it hands to its first process. */
   const char *how = getenv("exercise");
   if (how != NULL && strcmp(how, "load") == 0) {
      int vmmon = open("/dev/vmmon", O_RDWR | O_CLOEXEC);
      CHECK(vmmon >= 0, "open /dev/vmmon");
      int hub = vmnet(0);
      close(hub);
      close(vmmon);
   } else {
      use_vmmon();
      use_vmnet();
   }
   for (int i = 1; i >= 0; i--) {
      CHECK(syscall(SYS_delete_module, modules[i], O_NONBLOCK) == 0, "remove %s", modules[i]);
   }
   printf("exercise: passed\n");
   finish();
}
