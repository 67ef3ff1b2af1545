//! Reads how members stand: one by the narrowest question, or a look at several of a pool by a common one.

use std::collections::HashMap;
use std::sync::Arc;

use ha_core::backend::{ErrorKind, Instance, Member, MemberRef, Quiescence, StepError};
use ha_core::topology::Name;
use tokio::task::yield_now;
use tracing::Instrument;

use crate::backend::{HaProxy, missing};
use crate::error;
use crate::gather::Gathering;
use crate::transport::OpContext;
use crate::wire::{self, Malformed, PoolRow, Scope, ServerState, Stat};

/// What readers of one pool share: the pool, or the kind and the words of a failure that took all their time.
pub(crate) type Gathered = Result<Arc<PoolTable>, (ErrorKind, Arc<str>)>;

/// All servers of one pool and the process that has them, from one answer.
#[derive(Debug)]
pub(crate) struct PoolTable {
    pub(crate) process: Instance,
    pub(crate) states: Vec<ServerState>,
    pub(crate) stats: HashMap<String, Stat>,
    pub(crate) row: PoolRow,
}

/// One server, the backend that it is in, and the process that has it, from one answer.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) process: Instance,
    pub(crate) state: ServerState,
    pub(crate) stat: Stat,
    pub(crate) row: PoolRow,
}

impl HaProxy {
    /// Reads all servers of a pool.
    pub(crate) async fn table(&self, about: OpContext<'_>, pool: &Name) -> Result<PoolTable, StepError> {
        let malformed = |malformed: Malformed| error::malformed(about, malformed);
        loop {
            let scope = self.scope(pool);
            let answer = self.read(about, &[wire::INFO.into(), wire::states(pool), wire::pool_stats(scope)]).await?;
            let process = self.process(about, &answer)?;
            let states = wire::parse_states(&answer, pool).map_err(malformed)?;
            let (stats, row) = wire::parse_stats(&answer, pool).map_err(malformed)?;
            let Some(row) = row else {
                self.widen(about, pool, scope)?;
                continue;
            };
            let stats = stats.into_iter().map(|stat| (stat.server.clone(), stat)).collect();
            return Ok(PoolTable { process, states, stats, row });
        }
    }

    /// Returns which proxies `show stat` is asked about for a pool.
    pub(crate) fn scope<'p>(&self, pool: &'p Name) -> Scope<'p> {
        if self.lock().shadowed.contains(pool) { Scope::All } else { Scope::Named(pool) }
    }

    /// Asks about all proxies from now on: an answer about the pool's name had no backend of it, so that another proxy has
    /// its name too.
    ///
    /// # Errors
    /// Where all of them were asked about already.
    fn widen(&self, about: OpContext<'_>, pool: &Name, scope: Scope<'_>) -> Result<(), StepError> {
        if scope == Scope::All {
            return Err(error::malformed(about, Malformed("show stat has no line of the backend".into())));
        }
        self.lock().shadowed.insert(pool.clone());
        Ok(())
    }

    /// Reads a pool together with all who look at it or read it at this moment; `None` for a reader that is alone, or where
    /// the common answer is of no use: then the reader asks by itself, which may well be answered.
    pub(crate) async fn gathered(
        &self,
        about: OpContext<'_>,
        pool: &Name,
    ) -> Result<Option<Arc<PoolTable>>, StepError> {
        let (answer, gathering) = self.gather.enter(pool);
        if let Some(gathering) = gathering {
            // In a task, so that none of the readers waits for another one to be polled.
            let (backend, pool) = (self.clone(), pool.clone());
            // Its span is that of the call that asks for all.
            tokio::spawn(async move { backend.answer_all(gathering, &pool).await }.in_current_span());
        }
        // No longer than the common question: who has that ends its wait, whatever becomes of it.
        match answer.await {
            Ok(Ok(table)) => Ok(Some(table)),
            Ok(Err((kind, words))) => Err(error::of_all(about, kind, &words)),
            Err(_) => Ok(None),
        }
    }

    async fn answer_all(&self, gathering: Gathering<Gathered>, pool: &Name) {
        // The others are about to come: a look at a cluster begins all its reads in one go.
        yield_now().await;
        let readers = gathering.end();
        if readers.len() < 2 {
            return;
        }
        let about = OpContext { operation: "members", target: pool.as_str() };
        let answer = match self.table(about, pool).await {
            Ok(table) => Ok(Arc::new(table)),
            // It took the whole deadline: another wait as long would answer nobody.
            Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Busy) => {
                Err((error.kind(), Arc::from(error.to_string())))
            }
            Err(_) => return,
        };
        for reader in readers {
            // Who has gone away meanwhile does not want it.
            let _ = reader.send(answer.clone());
        }
    }

    /// Finds one server of a pool: who has it, how it stands, and what this process still does for it. Its number is known
    /// from then on.
    pub(crate) fn of_table(&self, member: &MemberRef, table: &PoolTable) -> Option<(Instance, Member, Quiescence)> {
        let name = member.member.as_str();
        let state = table.states.iter().find(|state| state.name == name)?;
        let stat = table.stats.get(name)?;
        // One that is known stays until its reader finds it wrong: this answer may be a late one of an older process.
        self.lock().ids.entry(member.clone()).or_insert((table.process.generation, state.id));
        Some((table.process.clone(), self.describe(&member.pool, state, stat, &table.row), stat.quiescence))
    }

    /// Looks at one server by the narrowest question, whatever else its pool has.
    pub(crate) async fn look_alone(
        &self,
        about: OpContext<'_>,
        member: &MemberRef,
    ) -> Result<(Instance, Member, Quiescence), StepError> {
        let read = self.ask_alone(about, member).await?;
        Ok((read.process, self.describe(&member.pool, &read.state, &read.stat, &read.row), read.stat.quiescence))
    }

    /// Asks about one server.
    pub(crate) async fn ask_alone(&self, about: OpContext<'_>, member: &MemberRef) -> Result<Reading, StepError> {
        for _ in 0..3 {
            let id = self.id(about, member).await?;
            let (pool, scope) = (&member.pool, self.scope(&member.pool));
            let (of_server, of_backend) = (wire::server_stat(scope, id), wire::backend_stat(scope));
            let commands = [wire::INFO.into(), wire::states(pool), of_server, of_backend];
            let answer = self.read(about, &commands).await?;
            let malformed = |malformed: Malformed| error::malformed(about, malformed);
            let state = wire::parse_state(&answer, member).map_err(malformed)?;
            let (stats, row) = wire::parse_stats(&answer, pool).map_err(malformed)?;
            let state = state.ok_or_else(|| missing(about, member))?;
            let Some(row) = row else {
                self.widen(about, pool, scope)?;
                continue;
            };
            match stats.into_iter().find(|stat| stat.server == member.member.as_str()) {
                Some(stat) if state.id == id => {
                    return Ok(Reading { process: self.process(about, &answer)?, state, stat, row });
                }
                Some(_) | None => {
                    self.lock().ids.remove(member);
                }
            }
        }
        Err(missing(about, member))
    }
}
