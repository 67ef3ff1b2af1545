//! What the registry does for each role of a topology: the factories of one, and the code that is the same for all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ha_core::backend::Host;
use ha_core::topology::{Role, SettingErrors, Topology};

use crate::error::{ConnectError, Place};
use crate::registry::Part;

type Factory<T> = Arc<dyn Fn(Part<'_>) -> Result<Arc<T>, SettingErrors> + Send + Sync>;

/// The factories of one kind of backend, by the names that a topology uses.
pub(crate) struct Factories<T: ?Sized> {
    known: BTreeMap<String, Factory<T>>,
    /// Names of backends of this workspace, each with the feature of `ha-backends` that has it.
    ours: &'static [(&'static str, &'static str)],
}

impl<T: ?Sized> Factories<T> {
    pub(crate) fn new(ours: &'static [(&'static str, &'static str)]) -> Self {
        Self { known: BTreeMap::new(), ours }
    }

    pub(crate) fn insert(
        &mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<T>, SettingErrors> + Send + Sync + 'static,
    ) {
        self.known.insert(name.into(), Arc::new(factory));
    }

    /// Builds the backends of a role, each with its owner's name; those that cannot be built are noted as wrong.
    pub(crate) fn build(
        &self,
        role: Role,
        topology: &Topology,
        hosts: &[(String, Arc<dyn Host>)],
        wrong: &mut Vec<ConnectError>,
    ) -> Vec<(String, Arc<T>)> {
        let mut built = Vec::new();
        for declared in topology.components(role) {
            let part = Part { topology, name: declared.name.as_str(), component: declared.component, hosts };
            built.extend(self.build_one(&declared.key(), part, wrong).map(|one| (part.name.to_string(), one)));
        }
        built
    }

    fn build_one(&self, key: &str, part: Part<'_>, wrong: &mut Vec<ConnectError>) -> Option<Arc<T>> {
        let (component, backend) = (part.component, part.component.backend.as_str());
        let place = |key: String, setting: &str| Place { line: component.line_of(setting), key };
        let Some(factory) = self.known.get(backend) else {
            let place = place(format!("{key}.backend"), "backend");
            let feature = self.ours.iter().find(|(name, _)| *name == backend).map(|(_, feature)| *feature);
            let backend = backend.to_string();
            wrong.push(match feature {
                Some(feature) => ConnectError::FeatureOff { place, backend, feature },
                None => ConnectError::UnknownBackend { place, backend, known: self.known.keys().cloned().collect() },
            });
            return None;
        };
        let refused = match factory(part) {
            Ok(built) => return Some(built),
            Err(refused) => refused,
        };
        wrong.extend(refused.errors().iter().map(|error| ConnectError::Setting {
            place: place(format!("{key}.{}", error.key()), error.key()),
            what: error.what().into(),
        }));
        None
    }
}

impl<T: ?Sized> Clone for Factories<T> {
    fn clone(&self) -> Self {
        Self { known: self.known.clone(), ours: self.ours }
    }
}

impl<T: ?Sized> fmt::Debug for Factories<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

/// Makes [`Backends`](crate::Backends), and the methods of [`Registry`](crate::Registry) that add a factory, from a list of
/// roles: those of which each balancer or node has its own, and those of which the cluster has one.
///
/// A line is: a field of `Backends`, the trait, the role, the method of `Registry` and of the engine's builder, what such a
/// backend does (for the docs), and the names of this workspace's backends, each with the feature of `ha-backends` that has it.
macro_rules! roles {
    (
        each { $( $each:ident: $each_trait:ident, $each_role:ident, $each_with:ident, $each_what:literal, $each_ours:expr; )* }
        cluster { $( $one:ident: $one_trait:ident, $one_role:ident, $one_with:ident, $one_what:literal, $one_ours:expr; )* }
    ) => {
        /// The backends of one topology, by the names of what they drive.
        #[derive(Clone, Debug, Default)]
        #[non_exhaustive]
        pub struct Backends {
            $( #[doc = concat!("What ", $each_what, ", each with the name of its owner.")]
            pub $each: Vec<(String, Arc<dyn $each_trait>)>, )*
            $( #[doc = concat!("What ", $one_what, ", where it is declared.")]
            pub $one: Option<Arc<dyn $one_trait>>, )*
        }

        impl Backends {
            /// Begins an engine over these backends.
            pub fn engine(self, topology: Topology) -> EngineBuilder {
                let mut builder = Engine::builder(topology);
                $( for (name, backend) in self.$each {
                    builder = builder.$each_with(name, backend);
                } )*
                $( if let Some(backend) = self.$one {
                    builder = builder.$one_with(backend);
                } )*
                builder
            }
        }

        /// The factories of every role.
        #[derive(Clone, Debug)]
        struct ByRole {
            $( $each: Factories<dyn $each_trait>, )*
            $( $one: Factories<dyn $one_trait>, )*
        }

        impl ByRole {
            #[cfg(test)]
            const ROLES: &[Role] = &[$( Role::$each_role, )* $( Role::$one_role, )*];

            fn empty() -> Self {
                Self {
                    $( $each: Factories::new(&$each_ours), )*
                    $( $one: Factories::new(&$one_ours), )*
                }
            }

            fn build(&self, topology: &Topology, wrong: &mut Vec<ConnectError>) -> Backends {
                // In the order of the list: what acts over hosts comes after them.
                let mut backends = Backends::default();
                $( backends.$each = self.$each.build(Role::$each_role, topology, &backends.hosts, wrong); )*
                $( let built = self.$one.build(Role::$one_role, topology, &backends.hosts, wrong).pop();
                backends.$one = built.map(|(_, built)| built); )*
                backends
            }
        }

        impl Registry {
            $( roles!(@with $each: $each_trait, $each_with, $each_what); )*
            $( roles!(@with $one: $one_trait, $one_with, $one_what); )*
        }
    };
    (@with $field:ident: $trait:ident, $with:ident, $what:literal) => {
        #[doc = concat!("Builds by `factory` what ", $what, " and has this name in the topology.")]
        #[must_use]
        pub fn $with(
            mut self,
            name: impl Into<String>,
            factory: impl Fn(Part<'_>) -> Result<Arc<dyn $trait>, SettingErrors> + Send + Sync + 'static,
        ) -> Self {
            self.factories.$field.insert(name, factory);
            self
        }
    };
}

pub(crate) use roles;
