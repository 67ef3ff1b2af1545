use ha_core::backend::ErrorKind;

/// What an exit code of rsync means, and whether it is worth another try, as `rsync(1)` lists them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RsyncExit {
    /// 0: the transfer came to its end. Whether it brought the right thing is another question.
    Done,
    /// 1, 2, 3, 4, 5: options, protocol ("is your shell clean?"), or a daemon that refuses.
    Misused,
    /// 10, 12, 14, 30, 35, 255: the connection, the other side, or a silence longer than the time-out.
    LinkBroken,
    /// 11, or 66 of the gate: input or output of files, as a full disk.
    Storage,
    /// 20: it was told to end.
    Cancelled,
    /// 23: some files could not be read or written; the rest was.
    Partial,
    /// 24: files vanished while they were read.
    Vanished,
    /// 25: it may delete no more, and has deleted what it may.
    DeleteBudget,
    /// 75: the gate of the reader is shut, or another transfer is under way there.
    Held,
    /// 76 or 77 of the gate: the reader writes itself, a later writer was seen there, or the transfer is none that it permits.
    Refused,
    /// 127: there is no rsync, or no remote shell.
    NotInstalled,
    /// Any other.
    Other,
}

impl RsyncExit {
    /// Reads an exit code.
    pub fn of(code: i32) -> Self {
        match code {
            0 => Self::Done,
            1..=5 => Self::Misused,
            10 | 12 | 14 | 30 | 35 | 255 => Self::LinkBroken,
            11 | 66 => Self::Storage,
            20 => Self::Cancelled,
            23 => Self::Partial,
            24 => Self::Vanished,
            25 => Self::DeleteBudget,
            75 => Self::Held,
            76 | 77 => Self::Refused,
            127 => Self::NotInstalled,
            _ => Self::Other,
        }
    }

    /// Tells whether the same transfer may go well a moment later.
    pub fn is_transient(self) -> bool {
        match self {
            Self::LinkBroken | Self::Vanished | Self::Held => true,
            Self::Done
            | Self::Misused
            | Self::Storage
            | Self::Cancelled
            | Self::Partial
            | Self::DeleteBudget
            | Self::Refused
            | Self::NotInstalled
            | Self::Other => false,
        }
    }

    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::LinkBroken => ErrorKind::Unreachable,
            Self::Storage | Self::Partial => ErrorKind::Denied,
            Self::Vanished | Self::DeleteBudget | Self::Refused => ErrorKind::Conflict,
            Self::Held => ErrorKind::Busy,
            Self::NotInstalled => ErrorKind::NotFound,
            Self::Misused => ErrorKind::Unsupported,
            Self::Done | Self::Cancelled | Self::Other => ErrorKind::Protocol,
        }
    }

    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Done => "it came to its end",
            Self::Misused => "correct rsh, and see that the shell of the login there prints nothing",
            Self::LinkBroken => {
                "the connection broke, or rsync there ended; see that rsh reaches the reader, then go on"
            }
            Self::Storage => "free space there, or make the folder above the tree, then go on",
            Self::Cancelled => "it was ended by a signal; go on",
            Self::Partial => "some files could not be read or written: see the permissions, then go on",
            Self::Vanished => "files vanished while they were read: let deployments rest, then go on",
            Self::DeleteBudget => {
                "it would delete more than delete_budget: compare the trees, then raise it or mend the writer's"
            }
            Self::Held => "another transfer into it is under way; go on when it has ended",
            Self::Refused => "the gate of the reader refuses it: see which node writes, then go on",
            Self::NotInstalled => "install rsync on both nodes",
            Self::Other => "see its message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measured_exit_code_has_its_class() {
        let table = [
            (0, RsyncExit::Done, false),
            (2, RsyncExit::Misused, false),
            (5, RsyncExit::Misused, false),
            (10, RsyncExit::LinkBroken, true),
            (11, RsyncExit::Storage, false),
            (12, RsyncExit::LinkBroken, true),
            (20, RsyncExit::Cancelled, false),
            (23, RsyncExit::Partial, false),
            (24, RsyncExit::Vanished, true),
            (25, RsyncExit::DeleteBudget, false),
            (30, RsyncExit::LinkBroken, true),
            (66, RsyncExit::Storage, false),
            (75, RsyncExit::Held, true),
            (76, RsyncExit::Refused, false),
            (127, RsyncExit::NotInstalled, false),
            (137, RsyncExit::Other, false),
            (255, RsyncExit::LinkBroken, true),
        ];
        for (code, exit, transient) in table {
            assert_eq!((RsyncExit::of(code), RsyncExit::of(code).is_transient()), (exit, transient), "{code}");
        }
    }
}
