package ledger

import "github.com/seawall-go/seawall/internal/chaos/check"

// A checkRow is a check in a sentence.
type checkRow struct{ Name, Says string }

// Checks returns the checks in the order of package check.
func (page) Checks() []checkRow {
	return []checkRow{
		{check.DuplicateEffect, "a key has two effects, and nothing that happened to it explains the second one."},
		{check.LostEffect, "a client got a success, and the effect that it names does not exist, or is another one; or there is an effect that no request had asked for, or that a 402 denies."},
		{check.TwoAnswers, "two calls with the same key got different answers about the effect, and nothing that happened between the two explains it."},
		{check.AnothersAnswer, "a call got the response of another key or of another request."},
		{check.FalseConflict, "a request was refused as different, by the service or by the provider, although all requests with its key were the same."},
		{check.MissedConflict, "two different requests with one key both ran."},
		{check.UnknownUnmarked, "a client was told that the outcome is unknown, although the way has no mark."},
		{check.NoFinalAnswer, "a request still had no final answer after all faults had ended."},
		{check.UnavailableWithoutCause, "a client was told that the response was not kept, although it was neither too large nor was the store full."},
		{check.FailureReplayed, "a failure was replayed."},
		{check.NotLinearizable, "no order of the calls with a key explains their answers. [Porcupine](https://github.com/anishathalye/porcupine) searches for one."},
		{check.NotAsDocumented, "a key had one fault only, and its answers or its effects are not those that SEMANTICS.md promises for this fault."},
		{leak, "a process ended an episode with more goroutines, memory or open files than it should have."},
	}
}
