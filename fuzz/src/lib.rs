//! What each fuzz target checks, as plain functions: `cargo fuzz run <target>` feeds them, and `cargo test` the seeds.
//!
//! Beyond never panicking: a reading that was cut short never says something else than the whole one.

mod cluster;
mod haproxy;
mod journal;
mod local;
mod migrate;
mod rsync;
mod ssh;
mod topology;

pub use haproxy::{haproxy_answer, haproxy_cfg, haproxy_info, haproxy_map, haproxy_proc, haproxy_stat, haproxy_state};
pub use journal::journal_entry;
pub use local::{embedded_wire, pid_file};
pub use migrate::{migrate_classify, migrate_datasource, migrate_jdbc, migrate_script, migrate_split};
pub use rsync::{rsync_cron, rsync_list, rsync_output, rsync_script};
pub use ssh::{ssh_frame, ssh_look, systemd_unit};
pub use topology::topology_toml;

/// Takes a place in the rest of the input from its first two bytes, so that the fuzzer chooses where an answer is cut.
fn cut(data: &[u8]) -> Option<(&str, &str)> {
    let (place, text) = data.split_at_checked(2)?;
    let text = std::str::from_utf8(text).ok()?;
    let place = usize::from(u16::from_be_bytes([place[0], place[1]])) % (text.len() + 1);
    Some((text, text.get(..place)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds
    }

    #[test]
    fn every_seed_passes_and_so_does_every_beginning_of_it() {
        let targets: [(&str, fn(&[u8])); 23] = [
            ("haproxy_stat", haproxy_stat),
            ("haproxy_state", haproxy_state),
            ("haproxy_info", haproxy_info),
            ("haproxy_map", haproxy_map),
            ("haproxy_proc", haproxy_proc),
            ("haproxy_answer", haproxy_answer),
            ("haproxy_cfg", haproxy_cfg),
            ("topology_toml", topology_toml),
            ("journal_entry", journal_entry),
            ("embedded_wire", embedded_wire),
            ("pid_file", pid_file),
            ("rsync_cron", rsync_cron),
            ("rsync_script", rsync_script),
            ("rsync_list", rsync_list),
            ("ssh_frame", ssh_frame),
            ("ssh_look", ssh_look),
            ("systemd_unit", systemd_unit),
            ("rsync_output", rsync_output),
            ("migrate_split", migrate_split),
            ("migrate_script", migrate_script),
            ("migrate_jdbc", migrate_jdbc),
            ("migrate_datasource", migrate_datasource),
            ("migrate_classify", migrate_classify),
        ];
        for (target, check) in targets {
            for seed in seeds(target) {
                (0..=seed.len()).for_each(|end| check(&seed[..end]));
                for place in 0..=u16::try_from(seed.len()).unwrap() {
                    let mut with_place = place.to_be_bytes().to_vec();
                    with_place.extend_from_slice(&seed[seed.len().min(2)..]);
                    check(&with_place);
                }
            }
        }
    }

    #[test]
    fn the_seeds_reach_what_lies_behind_the_parsers() {
        let text = |seed: Vec<u8>| String::from_utf8(seed).unwrap();
        assert!(seeds("migrate_split").iter().all(|seed| migrate::statements(seed) > 1));
        assert!(seeds("migrate_script").iter().any(|seed| migrate::loads(seed)));
        assert!(seeds("migrate_jdbc").iter().all(|seed| ha_migrate::jdbc::JdbcUrl::parse(&text(seed.clone())).is_ok()));
        for seed in seeds("migrate_datasource") {
            assert!(migrate::datasources(&seed) > 0, "{}", String::from_utf8_lossy(&seed));
        }
        for seed in seeds("migrate_classify") {
            assert!(ha_migrate::fuzz_datasource::fuzz_classify(&seed), "{}", String::from_utf8_lossy(&seed));
        }
        let whole = |target: &str| -> Vec<String> {
            let text = |seed: Vec<u8>| String::from_utf8(seed[2..].to_vec()).unwrap();
            seeds(target).into_iter().map(text).collect()
        };
        let pool = ha_core::topology::Name::new("esb").unwrap();
        assert!(whole("haproxy_stat").iter().all(|seed| ha_haproxy::fuzz::stat(seed, &pool).is_some()));
        assert!(whole("haproxy_state").iter().all(|seed| ha_haproxy::fuzz::states(seed, &pool).is_some()));
        assert!(whole("haproxy_info").iter().all(|seed| ha_haproxy::fuzz::info(seed).is_some()));
        // The other seeds are map files, which a person may have broken.
        assert!(whole("haproxy_map").iter().any(|seed| ha_haproxy::fuzz::map(seed).is_some()));
        assert!(whole("haproxy_proc").iter().all(|seed| ha_haproxy::fuzz::proc(seed).is_some()));
        assert!(seeds("ssh_frame").iter().all(|seed| ha_ssh::fuzz::frame([&seed[2..]]).code.is_some()));
        assert!(
            seeds("ssh_look").into_iter().any(|seed| matches!(ha_ssh::fuzz::processes(&text(seed)), Some(Some(_))))
        );
        assert!(seeds("ssh_look").into_iter().any(|seed| ha_ssh::fuzz::machine(&text(seed)).is_some()));
        assert_eq!(
            seeds("rsync_output").into_iter().filter(|seed| ha_rsync::fuzz::is_status(&text(seed.clone()))).count(),
            2
        );
        let unit = |seed| ha_core::backend::linux::UnitStatus::parse(&text(seed)).is_some();
        assert!(seeds("systemd_unit").into_iter().all(unit));
        assert!(seeds("rsync_cron").iter().any(|seed| !rsync::read(seed, rsync::SCRIPT, rsync::LIST).jobs.is_empty()));
        assert!(seeds("rsync_script").iter().all(|seed| !rsync::read(rsync::CRON, seed, rsync::LIST).edges.is_empty()));
        assert!(seeds("rsync_list").iter().all(|seed| !rsync::read(rsync::CRON, rsync::SCRIPT, seed).edges.is_empty()));
        assert!(seeds("journal_entry").iter().any(|seed| journal::goes_on(seed)), "a journal that can be gone on with");
    }
}
