/* SPDX-License-Identifier: GPL-2.0-or-later */

/* From a virtual address to the page frame behind it, by the page tables. */

#ifndef __PGTBL_H__
#define __PGTBL_H__

#include <linux/highmem.h>
#include <linux/sched.h>

#include "compat_pgtable.h"
#include "vm_basic_types.h"


/*
 * The frame that addr is mapped to in mm, or INVALID_MPN where nothing is. The caller holds the lock
 * of mm's page tables. A large page ends the walk early; the rest of the address then counts pages
 * inside it.
 */
static INLINE MPN
PgtblVa2MPNLocked(struct mm_struct *mm, // IN: whose address it is
                  VA addr)              // IN: the address
{
   pgd_t *pgd = pgd_offset(mm, addr);
   compat_p4d_t *p4d;
   pud_t *pud;
   pmd_t *pmd;
   pte_t *pte;
   MPN mpn = INVALID_MPN;

   /* The topmost level has no large pages on x86. */
   if (!pgd_present(*pgd) || pgd_large(*pgd)) {
      return INVALID_MPN;
   }

   p4d = compat_p4d_offset(pgd, addr);
   if (!compat_p4d_present(*p4d)) {
      return INVALID_MPN;
   }
   if (compat_p4d_large(*p4d)) {
      return compat_p4d_pfn(*p4d) + ((addr & ~COMPAT_P4D_MASK) >> PAGE_SHIFT);
   }

   pud = pud_offset(p4d, addr);
   if (!pud_present(*pud)) {
      return INVALID_MPN;
   }
   if (pud_large(*pud)) {
      return pud_pfn(*pud) + ((addr & ~PUD_MASK) >> PAGE_SHIFT);
   }

   pmd = pmd_offset(pud, addr);
   if (!pmd_present(*pmd)) {
      return INVALID_MPN;
   }
   if (pmd_large(*pmd)) {
      return pmd_pfn(*pmd) + ((addr & ~PMD_MASK) >> PAGE_SHIFT);
   }

   pte = pte_offset_map(pmd, addr);
   if (pte_present(*pte)) {
      mpn = pte_pfn(*pte);
   }
   pte_unmap(pte);
   return mpn;
}


/* The same for the process that runs now. */
static INLINE MPN
PgtblVa2MPN(VA addr)  // IN
{
   struct mm_struct *mm;
   MPN mpn;

   /* A kernel thread has no mm of its own and borrows one. */
   mm = current->active_mm;
   spin_lock(&mm->page_table_lock);
   mpn = PgtblVa2MPNLocked(mm, addr);
   spin_unlock(&mm->page_table_lock);
   return mpn;
}

#endif /* __PGTBL_H__ */
