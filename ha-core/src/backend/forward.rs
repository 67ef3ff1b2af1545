/// Implements a trait of a balancer for a wrapper by forwarding to what is inside: all methods, or those that are named,
/// beside the others as they are written.
///
/// A wrapper that leaves a method out does not pass clippy, and does not compile where the method has no default body. The
/// crate that uses it depends on `async-trait`.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Applied, LeaseEpoch, LoadBalancer, ObserveBalancer, SetAdmin, StepError};
///
/// #[derive(Debug)]
/// struct Logged<B>(B);
///
/// ha_core::forward!(impl[B: ObserveBalancer] ObserveBalancer for Logged<B>, |this| this.0);
///
/// ha_core::forward! {
///     impl[B: LoadBalancer] LoadBalancer for Logged<B>, |this| this.0 => set_weight, close_sessions;
///
///     async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
///         println!("{request:?}");
///         self.0.set_admin(epoch, request).await
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward {
    (impl [$($generics:tt)*] $($rest:tt)*) => { $crate::__forward! { impl [$($generics)*] $($rest)* } };
    (impl $($rest:tt)*) => { $crate::__forward! { impl [] $($rest)* } };
}

/// The table of signatures, and what makes methods of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward {
    (impl $generics:tt ObserveBalancer for $wrapper:ty, |$this:ident| $inner:expr $(;)?) => {
        $crate::__forward! { @method [ObserveBalancer $generics [$wrapper] $this [$inner]] [] capabilities identify member look members config_findings check_of quiescence }
    };
    (impl $generics:tt LoadBalancer for $wrapper:ty, |$this:ident| $inner:expr $(;)?) => {
        $crate::__forward! { @method [LoadBalancer $generics [$wrapper] $this [$inner]] [] set_admin set_weight close_sessions }
    };
    (impl $generics:tt Membership for $wrapper:ty, |$this:ident| $inner:expr $(;)?) => {
        $crate::__forward! { @method [Membership $generics [$wrapper] $this [$inner]] [] add remove }
    };
    (impl $generics:tt $trait:ident for $wrapper:ty, |$this:ident| $inner:expr => $($method:ident),+ $(,)?; $($own:tt)*) => {
        $crate::__forward! { @method [$trait $generics [$wrapper] $this [$inner]] [$($own)*] $($method)+ }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt capabilities $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [fn capabilities() -> $crate::backend::BalancerCapabilities] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt identify $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn identify() -> Result<$crate::backend::Instance, $crate::backend::StepError>] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt member $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn member(member: &$crate::backend::MemberRef) -> Result<$crate::backend::Member, $crate::backend::StepError>] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt look $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn look(member: &$crate::backend::MemberRef) -> Result<$crate::backend::MemberSnapshot, $crate::backend::StepError>] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt members $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn members(pool: &$crate::topology::Name) -> Result<Vec<($crate::topology::Name, $crate::backend::Member)>, $crate::backend::StepError>] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt config_findings $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn config_findings(expect: &$crate::backend::Expectations) -> Result<Vec<$crate::backend::ConfigFinding>, $crate::backend::StepError>] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt check_of $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn check_of(member: &$crate::backend::MemberRef) -> Result<$crate::backend::MemberCheck, $crate::backend::StepError>] $($rest)* }
    };
    (@method [ObserveBalancer $($of:tt)*] $done:tt quiescence $($rest:ident)*) => {
        $crate::__forward! { @done [ObserveBalancer $($of)*] $done
            [async fn quiescence(member: &$crate::backend::MemberRef) -> Result<$crate::backend::Quiescence, $crate::backend::StepError>] $($rest)* }
    };
    (@method [LoadBalancer $($of:tt)*] $done:tt set_admin $($rest:ident)*) => {
        $crate::__forward! { @done [LoadBalancer $($of)*] $done
            [async fn set_admin(epoch: $crate::backend::LeaseEpoch, request: $crate::backend::SetAdmin) -> Result<$crate::backend::Applied, $crate::backend::StepError>] $($rest)* }
    };
    (@method [LoadBalancer $($of:tt)*] $done:tt set_weight $($rest:ident)*) => {
        $crate::__forward! { @done [LoadBalancer $($of)*] $done
            [async fn set_weight(epoch: $crate::backend::LeaseEpoch, request: $crate::backend::SetWeight) -> Result<$crate::backend::Applied, $crate::backend::StepError>] $($rest)* }
    };
    (@method [LoadBalancer $($of:tt)*] $done:tt close_sessions $($rest:ident)*) => {
        $crate::__forward! { @done [LoadBalancer $($of)*] $done
            [async fn close_sessions(epoch: $crate::backend::LeaseEpoch, request: $crate::backend::CloseSessions) -> Result<$crate::backend::Closed, $crate::backend::StepError>] $($rest)* }
    };
    (@method [Membership $($of:tt)*] $done:tt add $($rest:ident)*) => {
        $crate::__forward! { @done [Membership $($of)*] $done
            [async fn add(epoch: $crate::backend::LeaseEpoch, request: $crate::backend::AddMember) -> Result<$crate::backend::Applied, $crate::backend::StepError>] $($rest)* }
    };
    (@method [Membership $($of:tt)*] $done:tt remove $($rest:ident)*) => {
        $crate::__forward! { @done [Membership $($of)*] $done
            [async fn remove(epoch: $crate::backend::LeaseEpoch, member: $crate::backend::MemberRef) -> Result<$crate::backend::Applied, $crate::backend::StepError>] $($rest)* }
    };
    (@method [$trait:ident [$($generics:tt)*] [$wrapper:ty] $this:ident $inner:tt] [$($done:tt)*]) => {
        #[deny(clippy::missing_trait_methods)]
        #[::async_trait::async_trait]
        impl<$($generics)*> $trait for $wrapper {
            $($done)*
        }
    };
    (@done [$trait:ident $generics:tt $wrapper:tt $this:ident [$inner:expr]] [$($done:tt)*]
        [fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty] $($rest:ident)*) => {
        $crate::__forward! { @method [$trait $generics $wrapper $this [$inner]] [$($done)*
            fn $method(&self, $($argument: $type),*) -> $answer {
                let $this = self;
                ($inner).$method($($argument),*)
            }
        ] $($rest)* }
    };
    (@done [$trait:ident $generics:tt $wrapper:tt $this:ident [$inner:expr]] [$($done:tt)*]
        [async fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty] $($rest:ident)*) => {
        $crate::__forward! { @method [$trait $generics $wrapper $this [$inner]] [$($done)*
            async fn $method(&self, $($argument: $type),*) -> $answer {
                let $this = self;
                ($inner).$method($($argument),*).await
            }
        ] $($rest)* }
    };
}
