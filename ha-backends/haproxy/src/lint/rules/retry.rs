use super::super::facts::{hashing, persistence};
use super::super::model::{Found, Proxy};
use super::{Findings, Pool};

pub(super) fn run(pool: &Pool<'_>, out: &mut Findings) {
    redispatch(pool, out);
    no_retries(pool, out);
    doubled_requests(pool, out);
}

/// Measured, a server killed among two: 797 of 2,260 requests failed without, 1 of 1,800 with `option redispatch 1` (the
/// one in flight). Without a number only the last retry goes elsewhere, and clients bound to the server wait the
/// turn-around of 1 s first (99 % line 1,002 ms).
fn redispatch(pool: &Pool<'_>, out: &mut Findings) {
    if has_one_server(pool.proxy) {
        return;
    }
    let keyword = "option redispatch";
    let Some(found) = pool.proxy.last(&["option", "redispatch"]) else {
        let message = "a refused connection is tried again on the same dead server only";
        let fix = "add \"option redispatch 1\"";
        return out.danger("redispatch", pool.proxy.section.header(), keyword, message, fix);
    };
    let bound = persistence(pool.proxy).is_some() || hashing(pool.proxy).is_some();
    let every = found.line.word(2);
    if bound && every != "1" && !every.contains('$') {
        let message = "clients that are bound to a dead server wait 1 s before another one is tried";
        out.advice("redispatch", found, keyword, message, "write \"option redispatch 1\"");
    }
}

fn has_one_server(proxy: &Proxy<'_>) -> bool {
    let mut budget = 2;
    proxy.servers.iter().flat_map(|server| server.names(&mut budget)).take(2).count() < 2
}

/// Manual (`retries`): 0 switches retries off, and with them every redispatch.
fn no_retries(pool: &Pool<'_>, out: &mut Findings) {
    let found = pool.proxy.last(&["retries"]).filter(|found| found.line.word(1) == "0");
    if let Some(found) = found.filter(|_| !has_one_server(pool.proxy)) {
        let message = "without retries a refused connection is never tried on another server";
        out.danger("retries", found, "retries", message, "leave it out (default 3)");
    }
}

/// Retries after a request was sent execute it again. Measured: 1 POST executed twice in one crash, 407 requests sent
/// twice in 30 restarts.
fn doubled_requests(pool: &Pool<'_>, out: &mut Findings) {
    let Some(found) = pool.proxy.last(&["retry-on"]).filter(|found| repeats(*found)) else { return };
    let spares = |proxy: &Proxy<'_>| proxy.last(&["http-request", "disable-l7-retry"]).is_some();
    let in_front = !pool.frontends.is_empty() && pool.frontends.iter().all(|frontend| spares(frontend));
    if !spares(pool.proxy) && !in_front {
        let message = "requests are sent again although a server may have executed them, POST too";
        let fix = "add \"http-request disable-l7-retry if METH_POST\"";
        out.danger("retry-on", found, "retry-on", message, fix);
    }
}

fn repeats(retry_on: Found<'_>) -> bool {
    let harmless =
        |word: &String| ["none", "conn-failure", "0rtt-rejected"].contains(&word.as_str()) || word.contains('$');
    !retry_on.line.words.iter().skip(1).all(harmless)
}
