// SPDX-License-Identifier: GPL-3.0-or-later
//! What is known of cards and drivers: the tables in `data/vgpu`, and rows of the user's own over them.
//!
//! ```text
//!   *.csv (built in) ─────────────────┐
//!   /etc/hostwright/vgpu/*.csv        ├─► Catalogue { gpus, drivers } ─► resolve (pure)
//!   ~/.config/hostwright/vgpu/*.csv ──┘            └─► Tables (SQLite in memory) ─► --sql
//! ```

mod read;
mod rows;
mod sql;

pub use read::{CatalogueError, ETC_DIR, Source};
pub use rows::{
    Branch, DriverEntry, Form, GpuEntry, GuestDriverEntry, Kind, RowError, Support, System, parse,
};
pub use sql::{Cell, QueryError, Table, Tables};

use std::collections::BTreeMap;

const GPUS: &str = include_str!("../../../../data/vgpu/gpus.csv");
const DRIVERS: &str = include_str!("../../../../data/vgpu/drivers.csv");
const GUEST_DRIVERS: &str = include_str!("../../../../data/vgpu/guest-drivers.csv");

/// Where the rows in the program are said to come from.
pub const BUILT_IN: &str = "built in";

/// Cards and drivers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    gpus: BTreeMap<String, GpuEntry>,
    drivers: BTreeMap<Branch, DriverEntry>,
    guest_drivers: BTreeMap<(Branch, System), GuestDriverEntry>,
}

impl Catalogue {
    /// The tables in this program.
    ///
    /// # Errors
    /// When one of them is wrong, which the tests rule out.
    pub fn built_in() -> Result<Self, CatalogueError> {
        let mut all = Self::default();
        all.add(Kind::Gpus, BUILT_IN, GPUS)?;
        all.add(Kind::Drivers, BUILT_IN, DRIVERS)?;
        all.add(Kind::GuestDrivers, BUILT_IN, GUEST_DRIVERS)?;
        Ok(all)
    }

    /// Lays the rows of a file over those that are there.
    ///
    /// # Errors
    /// When the file is wrong; nothing of it is taken then.
    pub fn add(&mut self, kind: Kind, origin: &str, text: &str) -> Result<(), RowError> {
        match kind {
            Kind::Gpus => {
                for row in parse::<GpuEntry>(origin, text)? {
                    self.gpus.insert(row.device_id.clone(), row);
                }
            }
            Kind::Drivers => {
                for row in parse::<DriverEntry>(origin, text)? {
                    self.drivers.insert(row.branch, row);
                }
            }
            Kind::GuestDrivers => {
                for row in parse::<GuestDriverEntry>(origin, text)? {
                    self.guest_drivers.insert((row.branch, row.system), row);
                }
            }
        }
        Ok(())
    }

    /// The card with this PCI device id ("1bb3").
    pub fn gpu(&self, device_id: &str) -> Option<&GpuEntry> {
        self.gpus.get(device_id)
    }

    /// All cards, by device id.
    pub fn gpus(&self) -> impl Iterator<Item = &GpuEntry> {
        self.gpus.values()
    }

    /// All drivers, newest branch first.
    pub fn drivers(&self) -> impl Iterator<Item = &DriverEntry> {
        self.drivers.values().rev()
    }

    /// All drivers of guests, newest branch first, Linux before Windows.
    pub fn guest_drivers(&self) -> impl Iterator<Item = &GuestDriverEntry> {
        let mut all: Vec<_> = self.guest_drivers.values().collect();
        all.sort_by_key(|d| (std::cmp::Reverse(d.branch), d.system));
        all.into_iter()
    }

    /// The driver for guests of this system in this branch.
    pub fn guest_driver(&self, branch: Branch, system: System) -> Option<&GuestDriverEntry> {
        self.guest_drivers.get(&(branch, system))
    }

    /// The driver of this branch.
    pub fn driver(&self, branch: Branch) -> Option<&DriverEntry> {
        self.drivers.get(&branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_tables_are_as_their_description_says() {
        let all = Catalogue::built_in().unwrap();
        assert_eq!(all.gpus().count(), GPUS.lines().count() - 1);
        assert_eq!(all.drivers().count(), DRIVERS.lines().count() - 1);
        let p4 = all.gpu("1bb3").unwrap();
        assert_eq!(
            (p4.name.as_str(), p4.support, p4.branches.first()),
            ("Tesla P4", Support::Native, Some(&16))
        );
        // Files of one build are one file.
        for driver in all.drivers() {
            assert!(driver.file_name.contains(&driver.host_driver), "{driver:?}");
            if let Some(patch) = &driver.unlock_patch {
                assert_eq!(patch, &format!("{}.patch", driver.host_driver));
            }
            for other in all.drivers().filter(|o| o.host_driver == driver.host_driver) {
                assert_eq!((&other.md5, &other.unlock_patch), (&driver.md5, &driver.unlock_patch));
            }
        }
        let readme = include_str!("../../../../data/vgpu/README.md");
        assert_eq!(all.guest_drivers().count(), GUEST_DRIVERS.lines().count() - 1);
        for guest in all.guest_drivers() {
            assert!(guest.file_name.contains(&guest.guest_driver), "{guest:?}");
            let end = if guest.system == System::Windows { ".exe" } else { "-grid.run" };
            assert!(guest.file_name.ends_with(end), "{guest:?}");
        }
        for text in [GPUS, DRIVERS, GUEST_DRIVERS] {
            for column in text.lines().next().unwrap().split(',') {
                assert!(readme.contains(&format!("`{column}`")), "README.md says nothing of {column}");
            }
        }
    }

    #[test]
    fn rows_of_ones_own_lie_over_the_built_in_ones() {
        let mut all = Catalogue::built_in().unwrap();
        let count = all.gpus().count();
        let mine = "chip,device_id,name,support,branches\nGP104,1bb3,My P4,none,\nGA102,9999,New card,native,19;18\n";
        all.add(Kind::Gpus, "gpus-mine.csv", mine).unwrap();
        assert_eq!(all.gpus().count(), count + 1);
        let p4 = all.gpu("1bb3").unwrap();
        assert_eq!((p4.name.as_str(), p4.origin.as_str()), ("My P4", "gpus-mine.csv"));
    }
}
