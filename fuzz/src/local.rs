use ha_local::fuzz::{Embedded, pid, question, reply};

/// The embedded balancer's admin lines: what is no whole question is refused, no older epoch changes anything, and its
/// own answers can be read.
pub fn embedded_wire(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(balancer) = Embedded::new() else { return };
    let mut seen = 0;
    for line in text.split_inclusive('\n').take(16) {
        let (refused, answer) = balancer.answer(line);
        let asked = question(line).filter(|_| line.ends_with('\n'));
        assert!(asked.is_some() || refused, "{line:?} is no question and was answered {answer}");
        if let (Some(Some(epoch)), false) = (asked, refused) {
            assert!(epoch >= seen, "epoch {epoch} changed something after {seen}");
            seen = epoch;
        }
        assert_eq!(reply(&answer).as_deref(), Some(answer.as_str()), "its own answer is read otherwise");
        // What another process sends as an answer is read, or is not.
        if let Some(again) = reply(line) {
            assert_eq!(reply(&again).as_deref(), Some(again.as_str()));
        }
    }
}

/// A pid file: a pid is the digits in it, and never 0 or 1.
pub fn pid_file(data: &[u8]) {
    let Some(pid) = pid(data) else { return };
    assert!(pid > 1);
    let digits: Vec<u8> = data.iter().copied().filter(u8::is_ascii_digit).collect();
    let digits = String::from_utf8_lossy(&digits);
    assert_eq!(digits.trim_start_matches('0'), pid.to_string());
}
