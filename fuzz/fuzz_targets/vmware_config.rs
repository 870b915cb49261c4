// SPDX-License-Identifier: GPL-3.0-or-later
#![no_main]
use hostwright::flows::tuning::vmware_file::ConfigFile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = ConfigFile::parse(bytes) else { return };
    assert_eq!(file.bytes(), bytes);
    if file.set("MemTrimRate", "0").is_ok() {
        assert_eq!(file.get("memtrimrate"), Ok(Some("0".to_owned())));
        let once = file.bytes();
        assert_eq!(file.set("memTrimRate", "0"), Ok(()));
        assert_eq!(file.bytes(), once);
    }
});
