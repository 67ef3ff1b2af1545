use std::fmt;

use serde::Serialize;

use super::component::Components;
use super::reader::{Findings, Reader};
use super::{Role, Topology, TopologyBuilder};

/// How the nodes come to the files that they serve.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileSharing {
    /// Each node has its own: copied from the writer by [`Topology::files`], or by nobody.
    #[default]
    Copied,
    /// All nodes read one folder.
    SharedMount,
    /// Each node loads them from a database.
    Database,
    /// They are a part of each node's image.
    Image,
}

impl FileSharing {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Copied, Self::SharedMount, Self::Database, Self::Image];

    /// Returns its name in `cluster.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::SharedMount => "shared-mount",
            Self::Database => "database",
            Self::Image => "image",
        }
    }

    pub(super) fn is_copied(&self) -> bool {
        *self == Self::Copied
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Reads the kind of a table `[files]`; `None` for one that is wrong, which is reported.
    pub(super) fn read(files: &Reader<'_, '_>) -> Option<Self> {
        let Some(text) = files.text("kind") else { return Some(Self::Copied) };
        let kind = Self::named(&text.value);
        if kind.is_none() {
            let fix = "give \"copied\", \"shared-mount\", \"database\" or \"image\"";
            files.wrong(text.line, "kind", format!("{:?} is unknown", text.value), fix);
        }
        kind
    }

    /// Returns what a cluster declares, or the default.
    pub(super) fn declared(root: &Reader<'_, '_>) -> Self {
        let kind = root.raw("files").and_then(|files| files.get_ref().get("kind"));
        kind.and_then(|kind| Self::named(kind.get_ref().as_str()?)).unwrap_or_default()
    }

    /// Reports a backend of files that none copies.
    pub(super) fn check(self, components: &Components, findings: &Findings<'_>) {
        if let Some(files) = components.get(Role::Files).filter(|_| !self.is_copied()) {
            let message = format!("files of kind {self} are not copied: no backend shares them");
            findings.add(files.line_of("backend"), "files.backend", message, "remove it, or leave kind out");
        }
    }
}

impl fmt::Display for FileSharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Topology {
    /// Returns how the nodes come to the files that they serve.
    pub fn file_sharing(&self) -> FileSharing {
        self.sharing
    }
}

impl TopologyBuilder {
    /// Says how the nodes come to the files that they serve. Default: [`FileSharing::Copied`].
    #[must_use]
    pub fn file_sharing(mut self, sharing: FileSharing) -> Self {
        self.draft.sharing = sharing;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 9\n[pool]\nname = \"esb\"\nserve = 1\n\
        [[balancer]]\nname = \"lb1\"\nbackend = \"b\"\n[[node]]\nname = \"esb1\"\ncapacity = 9\nhost = { backend = \"h\" }\n\
        probe = { backend = \"p\" }\n[[node]]\nname = \"esb2\"\ncapacity = 9\nhost = { backend = \"h\" }\nprobe = { backend = \"p\" }\n";

    fn read(files: &str) -> Result<Topology, String> {
        Topology::from_toml_str(&format!("{CLUSTER}{files}")).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_is_read_and_only_copied_files_have_a_backend() {
        for kind in FileSharing::ALL {
            let backend = if kind.is_copied() { "backend = \"rsync\"\n" } else { "" };
            let topology = read(&format!("[files]\nkind = \"{kind}\"\n{backend}")).unwrap();
            assert_eq!((topology.file_sharing(), topology.files().is_some()), (kind, kind.is_copied()));
        }
        let topology = read("[files]\nbackend = \"rsync\"\ntree = \"x\"\n").unwrap();
        assert_eq!(topology.file_sharing(), FileSharing::Copied);
        assert_eq!(topology.files().unwrap().settings.keys().collect::<Vec<_>>(), ["tree"]);
        assert_eq!(read("").unwrap().file_sharing(), FileSharing::Copied);
    }

    #[test]
    fn what_does_not_fit_a_kind_is_told_once_with_its_line() {
        for (files, expected) in [
            (
                "[files]\nkind = \"nfs\"\nbackend = \"x\"\n",
                "line 22: files.kind: \"nfs\" is unknown; give \"copied\", \"shared-mount\", \"database\" or \"image\"",
            ),
            ("[files]\nkind = 3\nbackend = \"x\"\n", "line 22: files.kind: "),
            ("[files]\nkind = \"copied\"\n", "line 21: files.backend: is missing"),
            (
                "[files]\nkind = \"image\"\nbackend = \"rsync\"\n",
                "line 23: files.backend: files of kind image are not copied: no backend shares them; remove it, or leave kind out",
            ),
        ] {
            let error = read(files).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert_eq!(error.matches("files.").count(), 1, "{error}");
        }
        let error = read("[files]\nkind = \"shared-mount\"\ntree = \"x\"\n").unwrap_err();
        assert!(error.contains("line 23: files.tree: unknown key"), "{error}");
    }

    #[test]
    fn copied_files_leave_the_written_topology_as_it_was() {
        let written = |files: &str| serde_json::to_value(read(files).unwrap()).unwrap();
        assert_eq!(written("[files]\nkind = \"copied\"\nbackend = \"x\"\n"), written("[files]\nbackend = \"x\"\n"));
        assert!(written("").get("sharing").is_none());
        assert_eq!(written("[files]\nkind = \"database\"\n")["sharing"], "database");
    }
}
