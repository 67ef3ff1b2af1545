/// Lists the defects once, so that none is left untried.
macro_rules! defects {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Defect {
            /// None.
            Whole,
            $($name),*
        }

        pub(crate) const DEFECTS: &[Defect] = &[$(Defect::$name),*];
    };
}

defects! {
    // What is read.
    SchemaIsBase SchemaIsExpanded SchemaIsReadOnce SchemaLivesInTheValue SchemaIsForgottenByARestart
    HalfWayIsCalledDone BackfillIsCalledDoneWithTheExpansion ReadExpands ReviewExpands
    // What is run.
    MigrateDoesNothing MigrateSaysApplied MigrateSaysAlreadySo MigratesOneStateAtATime
    ExpandDropsAmount ExpandTakesRows ExpandFills BackfillLeavesARow BackfillTakesRows BackfillDropsAmount
    ContractDropsNothing ContractTakesRows ContractSkipsTheBackfill
    WhatIsThereIsRunAgain ManyAtOnceRunTwice TheOthersOfManyFail
    DroppedIsRunAgain DroppedIsNeverRun DroppedBlocksTheNext DroppedIsAConflictForTheNext
    // What fails.
    FailureIsWell FailureIsDenied FailureHasNoEffect FailureIsDoneOnARetry FailureStaysOnceMended
    FailureIsRunTwiceOnceMended FailureOfABackfillGoesOn
    // What is refused.
    NoPermitIsNeeded NoPermitIsNeededForWhatIsFilled NoPermitIsNeededOnARetry PermitIsRemembered PermitContracts
    DenialIsAConflict DenialHasAnUnknownEffect DeniedAfterTheExpansion
    WhatLeadsBackIsAlreadySo WhatLeadsBackIsUnsupported WhatLeadsBackHasAnUnknownEffect WhatLeadsBackToBaseIsWell
    // How long it takes.
    DeadlineIsIgnored DeadlineIsAConflict DeadlineHasAnUnknownEffect AtOnceIsTooLateForWhatIsThere
    HeldTableIsWaitedForWithoutEnd HeldTableIsAConflict HeldTableIsChangedWithoutEffect HeldTableFailsAtOnce
    // Who may.
    NoFence NoFenceForContractions FenceLivesInTheValue FenceIsForgottenByARestart FenceIsForWhatIsDoneOnly
    FencedIsAConflict FencedHasAnUnknownEffect HigherEpochsAreFenced
    OldSessionsAreIgnored OldSessionsKeepAllFromBeingMigrated OldSessionsAreAConflict OldSessionsAreRemembered
    // Whether it answers.
    UnreachableIsBase UnreachableHasNothingToReview UnreachableIsATimeout UnreachableHasAnUnknownEffect
    UnreachableIsAlreadySo
    // What waits.
    DigestIsOfTheMoment DigestIsOfTheValue DigestIsOneForAllScripts DigestIsForgottenByARestart
    VerdictIsAlwaysSplittable AdditionsAreSplittable SplittableIsExpandOnly NothingIsExpandOnly BreakingIsSplittable
    BreakingIsWithoutReasons ContractionWaitsNoMore ContractionWaitsOn
    ScriptlessPhaseIsNotReached ScriptlessPhaseIsReachedInTheValue ScriptlessPhaseIsAlwaysApplied
    ContradictionIsReviewed ContradictionIsRun ContradictionIsDenied
}
