#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ha_fuzz::migrate_datasource(data));
