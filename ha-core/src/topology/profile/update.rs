use serde::Deserialize;

/// How the exit codes of a product's update tool read.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{ToolEnd, update_tool};
///
/// let tool = update_tool("wso2-mi-4").ok_or("no such tool")?;
/// assert_eq!([0, 1, 2, 3, 4].map(|code| tool.read(code)), [
///     ToolEnd::Done, ToolEnd::Failed, ToolEnd::Again, ToolEnd::Held, ToolEnd::Undone,
/// ]);
/// // The change's commands: `ha-step` is `UpdateTool::SCRIPT`, put below the home of each server.
/// assert_eq!(tool.apply("bin/ha-step").join(" "), "bin/ha-step --done 0 --again 2 --held 3 --undone 4 \
///     -- bin/wso2update_linux --level {HA_RELEASE}");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateTool {
    /// The program, and what it is always given.
    pub tool: Vec<String>,
    /// The codes after which its work is done.
    pub done: Vec<u8>,
    /// Those after which it has to be run again: it has replaced itself.
    #[serde(default)]
    pub again: Vec<u8>,
    /// Those after which a person has to decide: it has met conflicts.
    #[serde(default)]
    pub held: Vec<u8>,
    /// Those after which it has undone its work by itself.
    #[serde(default)]
    pub undone: Vec<u8>,
    /// What it is given to apply an update.
    pub apply: Vec<String>,
    /// What it is given to go on once a person has resolved the conflicts; `None` where it cannot.
    #[serde(default)]
    pub resume: Option<Vec<String>>,
    /// What it is given to undo its work; `None` where it cannot, and `restore` of the change does it in another way.
    #[serde(default)]
    pub revert: Option<Vec<String>>,
    /// The Puppet whose agent's own runs are held meanwhile; `None` for none.
    #[serde(default)]
    pub puppet: Option<String>,
}

/// What the end of an update tool means.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ToolEnd {
    /// Its work is done. That the release is there is read back all the same.
    Done,
    /// It has to be run again, at most three times in all.
    Again,
    /// A person has to decide; nothing is run until then, but what undoes the work.
    Held,
    /// It has undone its work.
    Undone,
    /// It failed, and may have done a half.
    Failed,
}

impl UpdateTool {
    /// The script `ha-step`, for `/bin/sh`: runs the tool as the command of a change, reads its end as [`read`](Self::read) does,
    /// and holds what has to be held. Put it below the home of each server, executable; it says how it is called. It needs `flock`.
    pub const SCRIPT: &str = include_str!("step.sh");

    /// Says what an exit code means.
    pub fn read(&self, code: u8) -> ToolEnd {
        let is_in = |codes: &[u8]| codes.contains(&code);
        match () {
            () if is_in(&self.done) => ToolEnd::Done,
            () if is_in(&self.held) => ToolEnd::Held,
            () if is_in(&self.undone) => ToolEnd::Undone,
            () if is_in(&self.again) => ToolEnd::Again,
            () => ToolEnd::Failed,
        }
    }

    /// Returns the `apply` command of a change, over the script at `script`.
    pub fn apply(&self, script: &str) -> Vec<String> {
        self.command(script, &[], &self.apply)
    }

    /// Returns what a person runs on the node, in the server's home, once the conflicts are resolved; `None` where the tool cannot go
    /// on.
    pub fn resume(&self, script: &str) -> Option<Vec<String>> {
        self.resume.as_ref().map(|words| self.command(script, &["--resume"], words))
    }

    /// Returns the `restore` command of a change, which lifts a hold as well; `None` where the tool cannot undo its work.
    pub fn restore(&self, script: &str) -> Option<Vec<String>> {
        // That it has undone its work is what was asked for.
        let wanted = |tool: &Self| Self {
            done: [&tool.done[..], &tool.undone[..]].concat(),
            undone: Vec::new(),
            ..tool.clone()
        };
        self.revert.as_ref().map(|words| wanted(self).command(script, &["--resume"], words))
    }

    fn command(&self, script: &str, options: &[&str], words: &[String]) -> Vec<String> {
        let mut argv = vec![script.to_string()];
        for (option, codes) in
            [("--done", &self.done), ("--again", &self.again), ("--held", &self.held), ("--undone", &self.undone)]
        {
            if !codes.is_empty() {
                let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
                argv.extend([option.to_string(), codes.join(",")]);
            }
        }
        if let Some(puppet) = &self.puppet {
            argv.extend(["--puppet".to_string(), puppet.clone()]);
        }
        argv.extend(options.iter().map(|option| (*option).to_string()));
        argv.push("--".into());
        argv.extend(self.tool.iter().chain(words).cloned());
        argv
    }
}
