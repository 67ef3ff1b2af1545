use crate::backend::MemberRef;
use crate::topology::Name;

/// Where a rotation acts: a server of the node, in one pool on one balancer instance.
///
/// # Examples
///
/// ```
/// use ha_core::backend::MemberRef;
/// use ha_core::machine::rotation::Place;
/// use ha_core::topology::Name;
///
/// let member = MemberRef::new(Name::new("be_esb")?, Name::new("esb1")?);
/// let place = Place::new(member).in_pool(Name::new("esb")?, "balancer lb1");
/// # drop(place);
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// What the balancer calls it.
    pub member: MemberRef,
    /// The pool that it belongs to. In one pool the node has one address, whichever balancer is asked; in another it has
    /// another port. Default: the balancer's name of it.
    pub pool: Name,
    /// Where it is, for messages. Default: `balancer N`, by its position from 1 on.
    pub label: Option<String>,
}

impl Place {
    /// Names a member.
    pub fn new(member: MemberRef) -> Self {
        Self { pool: member.pool.clone(), member, label: None }
    }

    /// Says which pool it belongs to, and how to tell a person where it is.
    #[must_use]
    pub fn in_pool(mut self, pool: Name, label: impl Into<String>) -> Self {
        (self.pool, self.label) = (pool, Some(label.into()));
        self
    }
}
