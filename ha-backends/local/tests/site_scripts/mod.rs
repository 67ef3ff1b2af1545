//! A fence, two copies of a database and a switch as scripts that keep their state in files, whose truth is in the files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Consumers, Fence, FenceLevel, Fenced, Replica, SiteSwitch};
use ha_local::{
    CommandFence, CommandFenceConfig, CommandReplica, CommandReplicaConfig, CommandSwitch, CommandSwitchConfig,
};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::fence::{FenceAbility, FenceFixture, FenceSubject};
use ha_testkit::conformance::replica::{At, ReplicaAbility, ReplicaFixture, ReplicaSubject};
use ha_testkit::conformance::site_switch::{
    HeldConsumer, RequestInProgress, SiteSwitchAbility, SiteSwitchFixture, SiteSwitchSubject,
};
use tempfile::TempDir;
use tokio::time::sleep;

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\nset -e\n{text}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// Two outlets, both of which must be off.
pub(crate) struct Fences;

struct Outlets {
    dir: TempDir,
    fence: Arc<CommandFence>,
}

impl Outlets {
    fn value(home: &Path) -> CommandFence {
        let (status, fence, lift) = (words("./status.sh"), words("./set.sh off"), words("./set.sh on"));
        CommandFence::new("north", CommandFenceConfig::new(home, FenceLevel::Power, status, fence, lift))
    }
}

#[async_trait]
impl FenceFixture for Fences {
    fn name(&self) -> String {
        "a fence of scripts".into()
    }

    /// Outlets are not in the site: nothing that happens there reaches them.
    fn can(&self, ability: FenceAbility) -> bool {
        !matches!(ability, FenceAbility::LosesSites | FenceAbility::Restarts)
    }

    async fn fresh(&self) -> Result<Box<dyn FenceSubject>, Breach> {
        let dir = tempfile::tempdir()?;
        for outlet in ["a", "b"] {
            fs::write(dir.path().join(outlet), "on\n")?;
        }
        script(dir.path(), "status.sh", "if [ \"$(cat a)$(cat b)\" = offoff ]; then echo fenced; else echo free; fi\n");
        script(dir.path(), "set.sh", "[ -f a ] && [ -f b ]\necho $1 >a; echo $1 >b\n");
        let fence = Arc::new(Outlets::value(dir.path()));
        Ok(Box::new(Outlets { dir, fence }))
    }
}

#[async_trait]
impl FenceSubject for Outlets {
    fn fence(&self) -> Arc<dyn Fence> {
        self.fence.clone()
    }

    fn another(&self) -> Arc<dyn Fence> {
        Arc::new(Self::value(self.dir.path()))
    }

    async fn truth(&self) -> Result<Fenced, Breach> {
        let is_off = |outlet: &str| fs::read_to_string(self.dir.path().join(outlet)).is_ok_and(|text| text == "off\n");
        Ok(if is_off("a") && is_off("b") { Fenced::Yes } else { Fenced::No })
    }

    async fn tear(&self) -> Result<(), Breach> {
        Ok(fs::write(self.dir.path().join("a"), "off\n")?)
    }

    async fn lose_site(&self) -> Result<(), Breach> {
        Err(Breach::new("outlets have no site that could be lost"))
    }

    async fn restart_site(&self) -> Result<(), Breach> {
        Err(Breach::new("outlets have no site that could be restarted"))
    }

    async fn lose_fence(&self) -> Result<(), Breach> {
        script(self.dir.path(), "status.sh", "echo 'no route to host' >&2; exit 1\n");
        Ok(())
    }
}

/// Two copies of a database: of each its role, its epoch, whom it follows, and its writes, a line each.
pub(crate) struct Copies;

struct Files {
    dir: TempDir,
    copies: [Arc<CommandReplica>; 2],
}

const STATUS: &str = r#"
cd ../$HA_SITE-data
behind=0; [ $(cat role) = primary ] || behind=7
echo "$(cat role) $(cat epoch) $(wc -c <rows) $behind $(cat follows)"
"#;

const PROMOTE: &str = "cd ../$HA_SITE-data; echo $HA_SITE_EPOCH >epoch; : >follows; echo primary >role\n";

/// Ends with 1 where no standby has everything: it takes no writes then.
const DEMOTE: &str = r#"
cd ../$HA_SITE-data
echo read-only >role
for other in ../*-data; do
    if [ "$(cat $other/follows)" = "$HA_SITE" ] && cmp -s rows $other/rows; then exit 0; fi
done
exit 1
"#;

const FOLLOW: &str = r#"
cd ../$HA_SITE-data
of=../$HA_OF-data
if [ $HA_DISCARD = no ] && grep -vxF -f $of/rows rows >only-here; then exit 3; fi
cp $of/rows rows; cp $of/epoch epoch; echo $HA_OF >follows; echo standby >role
"#;

impl Files {
    fn value(dir: &Path, at: At) -> CommandReplica {
        let other = if at == At::North { At::South } else { At::North };
        let changes = ["./promote.sh", "./demote.sh", "./follow.sh"].map(words);
        let config =
            CommandReplicaConfig::new(dir.join(at.site()), vec![other.site().into()], words("./status.sh"), changes);
        CommandReplica::new(at.site(), config)
    }

    fn file(&self, at: At, name: &str) -> PathBuf {
        self.dir.path().join(format!("{}-data", at.site())).join(name)
    }

    fn read(&self, at: At, name: &str) -> Result<String, Breach> {
        Ok(fs::read_to_string(self.file(at, name))?.trim().to_string())
    }
}

#[async_trait]
impl ReplicaFixture for Copies {
    fn name(&self) -> String {
        "copies of scripts".into()
    }

    fn can(&self, ability: ReplicaAbility) -> bool {
        ability != ReplicaAbility::Restarts
    }

    async fn fresh(&self) -> Result<Box<dyn ReplicaSubject>, Breach> {
        let dir = tempfile::tempdir()?;
        for (at, role, follows) in [(At::North, "primary", ""), (At::South, "standby", "north")] {
            let (home, data) = (dir.path().join(at.site()), dir.path().join(format!("{}-data", at.site())));
            fs::create_dir(&home)?;
            fs::create_dir(&data)?;
            for (name, text) in [("role", role), ("epoch", "1"), ("follows", follows)] {
                fs::write(data.join(name), format!("{text}\n"))?;
            }
            fs::write(data.join("rows"), "first\n")?;
            for (name, text) in
                [("status.sh", STATUS), ("promote.sh", PROMOTE), ("demote.sh", DEMOTE), ("follow.sh", FOLLOW)]
            {
                script(&home, name, text);
            }
        }
        let copies = [At::North, At::South].map(|at| Arc::new(Files::value(dir.path(), at)));
        Ok(Box::new(Files { dir, copies }))
    }
}

#[async_trait]
impl ReplicaSubject for Files {
    fn replica(&self, at: At) -> Arc<dyn Replica> {
        self.copies[usize::from(at == At::South)].clone()
    }

    fn another(&self, at: At) -> Arc<dyn Replica> {
        Arc::new(Self::value(self.dir.path(), at))
    }

    async fn write(&self, at: At) -> Result<bool, Breach> {
        if self.read(at, "role")? != "primary" {
            return Ok(false);
        }
        let rows = fs::read_to_string(self.file(at, "rows"))?;
        let rows = format!("{rows}{} {}\n", self.read(at, "epoch")?, rows.lines().count());
        fs::write(self.file(at, "rows"), &rows)?;
        let other = if at == At::North { At::South } else { At::North };
        if self.read(other, "follows").is_ok_and(|follows| follows == at.site())
            && !self.dir.path().join("parted").exists()
        {
            fs::write(self.file(other, "rows"), rows)?;
            fs::copy(self.file(at, "epoch"), self.file(other, "epoch"))?;
        }
        Ok(true)
    }

    async fn has(&self, at: At) -> Result<u64, Breach> {
        let rows = fs::read_to_string(self.file(at, "rows"))?.lines().count();
        Ok(u64::try_from(rows).unwrap_or(0).saturating_sub(1))
    }

    async fn part(&self, parted: bool) -> Result<(), Breach> {
        let parting = self.dir.path().join("parted");
        if parted {
            fs::write(parting, "")?
        } else {
            fs::remove_file(parting)?
        }
        Ok(())
    }

    async fn restart(&self, _at: At) -> Result<(), Breach> {
        Err(Breach::new("files have no server that could be restarted"))
    }

    async fn lose(&self, at: At) -> Result<(), Breach> {
        let data = self.dir.path().join(format!("{}-data", at.site()));
        Ok(fs::rename(&data, data.with_extension("lost"))?)
    }
}

/// Two records that say where consumers are led, and a folder with a file for each request in progress.
pub(crate) struct Switches {
    pub(crate) holds: bool,
}

struct Records {
    dir: TempDir,
    switch: Arc<CommandSwitch>,
    holds: bool,
}

struct InProgress(PathBuf);

struct Waits(PathBuf);

/// Holds first, and then waits until nothing is in progress.
const LEAD: &str = r#"
[ -d requests ]
echo $HA_CONSUMERS >first; echo $HA_CONSUMERS >second
[ $HA_CONSUMERS = held ] || exit 0
while [ "$(ls requests)" ]; do sleep 0.02; done
"#;

pub(crate) fn write_switch(home: &Path) {
    for record in ["first", "second"] {
        fs::write(home.join(record), "north\n").unwrap();
    }
    fs::create_dir(home.join("requests")).unwrap();
    script(
        home,
        "status.sh",
        "[ -d requests ]\nif grep -q held first && [ \"$(ls requests)\" ]; then echo north; fi\ncat first second\n",
    );
    script(home, "lead.sh", LEAD);
}

pub(crate) fn switch_config(home: &Path) -> CommandSwitchConfig {
    CommandSwitchConfig::new(home, words("north south"), words("./status.sh"), words("./lead.sh"))
}

impl Records {
    fn value(home: &Path, holds: bool) -> CommandSwitch {
        let config = switch_config(home);
        CommandSwitch::new(if holds { config.holding() } else { config })
    }
}

fn led(record: &Path) -> Result<Consumers, Breach> {
    Ok(match fs::read_to_string(record)?.trim() {
        "held" => Consumers::Held,
        "nowhere" => Consumers::Nowhere,
        site => Consumers::To(site.into()),
    })
}

#[async_trait]
impl SiteSwitchFixture for Switches {
    fn name(&self) -> String {
        "a switch of scripts".into()
    }

    fn can(&self, ability: SiteSwitchAbility) -> bool {
        match ability {
            SiteSwitchAbility::Holds => self.holds,
            _ => ability != SiteSwitchAbility::Restarts,
        }
    }

    async fn fresh(&self) -> Result<Box<dyn SiteSwitchSubject>, Breach> {
        let dir = tempfile::tempdir()?;
        write_switch(dir.path());
        let switch = Arc::new(Records::value(dir.path(), self.holds));
        Ok(Box::new(Records { dir, switch, holds: self.holds }))
    }
}

#[async_trait]
impl SiteSwitchSubject for Records {
    fn switch(&self) -> Arc<dyn SiteSwitch> {
        self.switch.clone()
    }

    fn another(&self) -> Arc<dyn SiteSwitch> {
        Arc::new(Self::value(self.dir.path(), self.holds))
    }

    async fn truth(&self) -> Result<Consumers, Breach> {
        let (first, second) = (led(&self.dir.path().join("first"))?, led(&self.dir.path().join("second"))?);
        if first == second { Ok(first) } else { Err(Breach::new(format!("{first} and {second}"))) }
    }

    async fn begin(&self) -> Result<Box<dyn RequestInProgress>, Breach> {
        let request = self.dir.path().join("requests/1");
        fs::write(&request, "")?;
        Ok(Box::new(InProgress(request)))
    }

    async fn wait(&self) -> Result<Box<dyn HeldConsumer>, Breach> {
        Ok(Box::new(Waits(self.dir.path().join("first"))))
    }

    async fn tear(&self) -> Result<(), Breach> {
        Ok(fs::write(self.dir.path().join("second"), "south\n")?)
    }

    async fn restart(&self) -> Result<(), Breach> {
        Err(Breach::new("files have no server that could be restarted"))
    }

    async fn lose(&self) -> Result<(), Breach> {
        Ok(fs::rename(self.dir.path().join("requests"), self.dir.path().join("gone"))?)
    }
}

#[async_trait]
impl RequestInProgress for InProgress {
    async fn end(self: Box<Self>) -> Result<bool, Breach> {
        fs::remove_file(&self.0)?;
        Ok(true)
    }
}

#[async_trait]
impl HeldConsumer for Waits {
    async fn answer(self: Box<Self>) -> Result<Option<String>, Breach> {
        for _ in 0..1000 {
            match led(&self.0)? {
                Consumers::To(site) => return Ok(Some(site)),
                Consumers::Held => sleep(Duration::from_millis(10)).await,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}
