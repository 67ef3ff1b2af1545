use std::net::SocketAddr;

use async_trait::async_trait;
use ha_core::topology::Name;

use super::{HeldConsumer, RequestInProgress};
use crate::conformance::balancer::{HeldRequest, WaitingRequest};
use crate::conformance::{Breach, Origins};

struct InProgress(Box<dyn HeldRequest>);

struct Held(Vec<Box<dyn WaitingRequest>>);

/// Begins a request over a front that is in progress in a site, whose servers are origins.
///
/// # Errors
/// When none gets there.
pub async fn in_progress(
    origins: &Origins,
    front: SocketAddr,
    site: &Name,
) -> Result<Box<dyn RequestInProgress>, Breach> {
    Ok(Box::new(InProgress(origins.hold(front, site).await?)))
}

/// Sends a request over each front while consumers are held. One site must answer them all.
///
/// # Errors
/// When one cannot be sent.
pub async fn held(origins: &Origins, fronts: &[SocketAddr]) -> Result<Box<dyn HeldConsumer>, Breach> {
    let mut waiting = Vec::new();
    for front in fronts {
        waiting.push(origins.wait(*front).await?);
    }
    Ok(Box::new(Held(waiting)))
}

#[async_trait]
impl RequestInProgress for InProgress {
    async fn end(self: Box<Self>) -> Result<bool, Breach> {
        self.0.release().await
    }
}

#[async_trait]
impl HeldConsumer for Held {
    async fn answer(self: Box<Self>) -> Result<Option<String>, Breach> {
        let mut answers = Vec::new();
        for waiting in self.0 {
            answers.push(waiting.answer().await?.map(|site| site.to_string()));
        }
        answers.dedup();
        match &answers[..] {
            [answer] => Ok(answer.clone()),
            _ => Err(Breach::new(format!("the fronts answer apart: {answers:?}"))),
        }
    }
}
