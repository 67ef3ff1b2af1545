use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_core::topology::{Component, Name, Reported, Role, Setting, SettingErrors, Settings, Topology};

/// How a set of files takes the place of the one before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Publish {
    /// The tree is a folder, and changes in place: every file is there before the first one is renamed
    /// (`--delay-updates`), and what a cut transfer leaves counts as no set. For a tree that a server watches.
    #[default]
    InPlace,
    /// The tree is a link to a release in `<tree>.releases`, and is switched in one step. Until a first release is published
    /// the tree may be absent.
    Switch,
}

/// A node that shares files.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SharedNode {
    /// Its name.
    pub name: Name,
    /// The home that the tree is below.
    pub home: PathBuf,
    /// What `rsh` is given to reach it, as `wso2@10.0.0.2`. Default its name.
    pub destination: String,
}

impl SharedNode {
    /// Describes a node that the others reach under its name.
    pub fn new(name: Name, home: impl Into<PathBuf>) -> Self {
        Self { destination: name.to_string(), name, home: home.into() }
    }

    /// Sets what `rsh` is given to reach it.
    #[must_use]
    pub fn with_destination(mut self, destination: impl Into<String>) -> Self {
        self.destination = destination.into();
        self
    }
}

/// Which folders are shared, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RsyncConfig {
    /// The shared folder, below each home. Each set in it has its number in a file `.ha-generation`.
    pub tree: PathBuf,
    /// The nodes.
    pub nodes: Vec<SharedNode>,
    /// The node that writes until somebody hands that over.
    pub writer: Name,
    /// How a set takes the place of the one before. Default in place.
    pub publish: Publish,
    /// The remote shell that the writer reaches the others by, as `["ssh", "-F", "/etc/ha/ssh_config"]`. Empty, the default: all
    /// nodes are on the writer's machine.
    pub rsh: Vec<String>,
    /// Paths below the tree that belong to each node alone: never copied, deleted or counted.
    pub local_only: Vec<String>,
    /// How many files and folders one transfer may delete on a reader. Default 100.
    pub delete_budget: u32,
    /// After how many seconds of silence a transfer is given up. Default 30 s; part of a second counts as a whole one.
    pub timeout: Duration,
    /// The most that one transfer sends, in KiB a second. Default 0: as fast as it can.
    pub bwlimit: u32,
    /// How long a hold waits for a canary: an empty file that the writer has meanwhile, and that whatever copies past the gate would
    /// bring, as a crontab's line that is left from before. More than one period of such a line. Default zero: no canary; what comes
    /// through the gate is held either way.
    pub canary: Duration,
    /// How many releases a node keeps beside the current one, with [`Publish::Switch`]. Default 3.
    pub keep: u32,
}

impl RsyncConfig {
    /// Shares the folder `tree` below the homes of these nodes; the first node writes.
    ///
    /// # Panics
    /// Without any node: a programming error of the caller.
    pub fn new(tree: impl Into<PathBuf>, nodes: Vec<SharedNode>) -> Self {
        assert!(!nodes.is_empty(), "file sharing needs a node");
        Self {
            tree: tree.into(),
            writer: nodes[0].name.clone(),
            nodes,
            publish: Publish::default(),
            rsh: Vec::new(),
            local_only: Vec::new(),
            delete_budget: 100,
            timeout: Duration::from_secs(30),
            bwlimit: 0,
            canary: Duration::ZERO,
            keep: 3,
        }
    }

    /// Reads the settings that the table of the crate's documentation lists; the homes are those of the nodes' hosts.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let tree = tree(&mut settings);
        let (writer, rsh) = (settings.text("writer"), settings.optional_argv("rsh"));
        let (destinations, local_only) = (settings.list("destinations"), settings.list("local_only"));
        let (publish, budget) = (settings.text("publish"), settings.integer("delete_budget", 0, 1_000_000));
        let (timeout, keep) = (settings.duration("timeout", Duration::from_secs(30)), settings.integer("keep", 1, 100));
        let (canary, bwlimit) =
            (settings.duration("canary", Duration::ZERO), settings.integer("bwlimit", 0, 100_000_000));
        let read = (|| {
            let mut nodes = nodes(&mut settings, topology)?;
            destined(&mut settings, destinations?, &mut nodes)?;
            let mut config = Self::new(tree?, nodes);
            if let Some(writer) = writer? {
                let found = config.nodes.iter().find(|node| node.name.as_str() == writer);
                let unknown = || settings.wrong("writer", format!("there is no node {writer}: name one"));
                config.writer = found.map(|node| node.name.clone()).ok_or_else(unknown)?;
            }
            config.publish = match publish?.as_deref() {
                None | Some("in-place") => Publish::InPlace,
                Some("switch") => Publish::Switch,
                Some(_) => return Err(settings.wrong("publish", "give \"in-place\" or \"switch\"")),
            };
            (config.rsh, config.local_only, config.timeout) = (rsh?, local_only?, timeout?);
            config.delete_budget =
                budget?.and_then(|budget| u32::try_from(budget).ok()).unwrap_or(config.delete_budget);
            config.bwlimit = bwlimit?.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(config.bwlimit);
            config.keep = keep?.and_then(|keep| u32::try_from(keep).ok()).unwrap_or(config.keep);
            config.canary = canary?;
            if config.canary >= topology.policy().command_deadline {
                settings.wrong("canary", "give less than policy.command_deadline: a hold may take no longer than that");
            }
            for (key, what) in config.odd() {
                settings.wrong(key, what);
            }
            Ok(config)
        })();
        settings.finish(read)
    }

    /// Lists what a shell or rsync would not take as it is, by the key that has it. Names of files in the tree may be anything.
    pub(crate) fn odd(&self) -> Vec<(&'static str, String)> {
        let mut odd = Vec::new();
        let mut check = |key, text: &str, also: &str| {
            let plain =
                |letter: char| letter.is_ascii_alphanumeric() || "_-./@:=,+%".contains(letter) || also.contains(letter);
            if text.is_empty() || text.starts_with('-') || !text.chars().all(plain) {
                let what = format!("{text:?}: give letters, digits and _-./@:=,+% only, and no dash in front");
                odd.push((key, what));
            }
        };
        for node in &self.nodes {
            check("tree", &self.tree_of(node).to_string_lossy(), "");
            check("destinations", &node.destination, "[]");
        }
        for path in &self.local_only {
            let relative = path.trim_start_matches('/').trim_end_matches('/') == path;
            check("local_only", if relative { path } else { "" }, " ");
        }
        for word in &self.rsh {
            if word.is_empty() || word.contains(['\n', '\'']) {
                odd.push(("rsh", format!("{word:?}: give words without quotes and line ends")));
            }
        }
        odd.dedup();
        odd
    }

    pub(crate) fn tree_of(&self, node: &SharedNode) -> PathBuf {
        node.home.join(&self.tree)
    }

    pub(crate) fn state_of(node: &SharedNode) -> PathBuf {
        node.home.join(STATE)
    }
}

/// Where a node keeps what it is allowed, below its home: as the local file sharing does.
const STATE: &str = ".ha-files";

fn tree(settings: &mut Settings<'_>) -> Result<PathBuf, Reported> {
    let tree = PathBuf::from(settings.required_text("tree")?);
    let plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    let is_state = |tree: &Path| tree.starts_with(STATE);
    if tree.components().all(plain) && !is_state(&tree) {
        return Ok(tree);
    }
    Err(settings.wrong("tree", "give a folder below each home, without .. and without a leading slash"))
}

fn nodes(settings: &mut Settings<'_>, topology: &Topology) -> Result<Vec<SharedNode>, Reported> {
    let mut nodes = Vec::new();
    for (_, node) in topology.nodes() {
        match node.component(Role::Host).and_then(|host| host.settings.get("home")) {
            Some(Setting::Text(home)) => nodes.push(SharedNode::new(node.name.clone(), home)),
            Some(_) | None => {
                let what = format!("shares a folder below each home, and the host of {} has no home", node.name);
                return Err(settings.wrong("backend", what));
            }
        }
    }
    Ok(nodes)
}

/// Reads `node=destination`, one a node.
fn destined(settings: &mut Settings<'_>, given: Vec<String>, nodes: &mut [SharedNode]) -> Result<(), Reported> {
    for text in given {
        let pair = text.split_once('=');
        let node = pair.and_then(|(name, _)| nodes.iter_mut().find(|node| node.name.as_str() == name));
        let (Some((_, destination)), Some(node)) = (pair, node) else {
            let what = format!("{text:?}: give the name of a node, = and its destination, as \"esb2=wso2@10.0.0.2\"");
            return Err(settings.wrong("destinations", what));
        };
        node.destination = destination.into();
    }
    Ok(())
}
