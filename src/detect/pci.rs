// SPDX-License-Identifier: GPL-3.0-or-later
//! Devices on the PCI bus.

use super::Finding;
use super::look::Look;

/// A PCI device, as `uevent` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PciDevice {
    /// Address ("0000:01:00.0").
    pub(super) address: String,
    /// Class, six hexadecimal digits ("030000").
    pub(super) class: String,
    /// Vendor id ("10de").
    pub(super) vendor: String,
    /// Device id ("2684").
    pub(super) device: String,
    /// The driver that holds it.
    pub(super) driver: Option<String>,
}

pub(super) const DEVICES: &str = "/sys/bus/pci/devices";

fn parse_uevent(address: &str, text: &str) -> Option<PciDevice> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let (vendor, device) = field("PCI_ID")?.split_once(':')?;
    let hex = |s: &str| s.chars().all(|c| c.is_ascii_hexdigit());
    let class = field("PCI_CLASS").filter(|c| hex(c))?;
    (hex(vendor) && hex(device)).then(|| PciDevice {
        address: address.to_owned(),
        class: format!("{class:0>6}").to_lowercase(),
        vendor: vendor.to_lowercase(),
        device: device.to_lowercase(),
        driver: field("DRIVER").map(str::to_owned),
    })
}

/// Lists the devices.
pub(super) fn devices(look: &Look<'_>) -> Finding<Vec<PciDevice>> {
    look.if_running(|| match look.root().list(DEVICES) {
        Ok(entries) => Finding::Seen(
            entries
                .iter()
                .filter_map(|e| {
                    parse_uevent(&e.name, &look.text(&format!("{DEVICES}/{}/uevent", e.name)).ok()?)
                })
                .collect(),
        ),
        // A machine without the bus.
        Err(e) if e.is_not_found() && look.exists("/sys/bus") => Finding::Seen(vec![]),
        Err(e) if e.is_not_found() => Finding::unseen("/sys is not mounted"),
        Err(e) => Finding::unseen(e.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_device_is_read_from_its_uevent() {
        let text = "DRIVER=nvidia\nPCI_CLASS=30000\nPCI_ID=10DE:2684\nPCI_SUBSYS_ID=1458:40BF\nPCI_SLOT_NAME=0000:01:00.0\n";
        let device = parse_uevent("0000:01:00.0", text).unwrap();
        assert_eq!(
            (device.class.as_str(), device.vendor.as_str(), device.device.as_str()),
            ("030000", "10de", "2684")
        );
        assert_eq!(device.driver.as_deref(), Some("nvidia"));
        assert_eq!(parse_uevent("x", "PCI_ID=10DE\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            parse_uevent("x", &text);
            parse_uevent("x", &format!("PCI_CLASS={text}\nPCI_ID={text}:{text}"));
        }
    }
}
