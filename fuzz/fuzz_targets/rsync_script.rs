#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ha_fuzz::rsync_script(data));
