package main

import (
	"fmt"
	"strings"
)

// alert is an alerting rule of Prometheus.
type alert struct {
	name     string
	severity string // critical: act now; warning: act today
	expr     string
	wait     string // how long expr must hold before the alert fires
	summary  string
	action   string
}

var (
	recentAttempts = recent("seawall_retry_attempts_total", "", "seawall_retry_group")
	recentRetries  = recent("seawall_retry_retries_total", "", "seawall_retry_group")
)

var alerts = []alert{
	{
		name: "SeawallRetryBudgetExhausted", severity: "warning", wait: "5m",
		expr:    recent("seawall_retry_calls_total", `seawall_retry_reason="budget-exhausted"`, "seawall_retry_group") + " > 0",
		summary: "Calls from {{ $labels.job }} to {{ $labels.seawall_retry_group }} fail, and the budget allows no more retries.",
		action:  "Look at the server: it fails more than a tenth of the requests. Do not raise the budget, because more retries add load to a server that fails.",
	},
	{
		// An open circuit is half-open during each probe, so that neither state lasts.
		name: "SeawallCircuitOpen", severity: "critical", wait: "5m",
		expr:    `min by (job, seawall_retry_group) (seawall_retry_circuits{seawall_retry_circuit_state="closed"}) == 0`,
		summary: "{{ $labels.job }} sends nothing but probes to {{ $labels.seawall_retry_group }}.",
		action:  "Look at the server: nearly all attempts fail. The circuit closes by itself when a probe succeeds, unless an operator holds it open with Breaker.Hold.",
	},
	{
		name: "SeawallRetryAmplification", severity: "warning", wait: "5m",
		expr: fmt.Sprintf("%s > %g and %s > 1", // a few calls say little
			amplification(recentAttempts, recentRetries), tooManyRetries, firstAttempts(recentAttempts, recentRetries)),
		summary: "Each call from {{ $labels.job }} to {{ $labels.seawall_retry_group }} makes {{ $value | humanize }} attempts.",
		action:  "Give the client the default budget. If it is an emergency, set Policy.MaxAttempts to 1, or hold the circuit open with Breaker.Hold.",
	},
	{
		name: "SeawallDeniedShare", severity: "warning", wait: "10m",
		expr: fmt.Sprintf("%s / %s > %g",
			recent("seawall_ratelimit_requests_total", denied, "seawall_ratelimit_rule"), recent("seawall_ratelimit_requests_total", "", "seawall_ratelimit_rule"), tooManyDenied),
		summary: "Rule {{ $labels.seawall_ratelimit_rule }} of {{ $labels.job }} denies {{ $value | humanizePercentage }} of its requests.",
		action:  "Find the principal in the access log. If it is one, talk to its owner. If it is all of them, the limit is too low.",
	},
	{
		name: "SeawallLimiterFailing", severity: "critical", wait: "2m",
		expr:    recent("seawall_ratelimit_failures_total", "", "seawall_ratelimit_rule") + " > 0",
		summary: "Rule {{ $labels.seawall_ratelimit_rule }} of {{ $labels.job }} cannot ask its limiter.",
		action:  "Look at the limiter's Redis and at the network. Meanwhile, each process limits by itself (FailLocal), lets requests through (FailOpen), or refuses them (FailClosed).",
	},
	{
		name: "SeawallLimiterFull", severity: "warning", wait: "5m",
		expr:    recent("seawall_ratelimit_refusals_total", "", "seawall_name") + " > 0",
		summary: "Limiter {{ $labels.seawall_name }} of {{ $labels.job }} has no room for more keys and refuses them.",
		action:  "Look for a flood of invalid keys. Limit by address before authentication, and by principal after it. Otherwise raise MaxKeys.",
	},
	{
		name: "SeawallStoreFailing", severity: "critical", wait: "2m",
		expr:    recent("seawall_idempotency_requests_total", storeOutcomes, "seawall_idempotency_outcome") + " > 0",
		summary: "The idempotency store of {{ $labels.job }} fails: requests are {{ $labels.seawall_idempotency_outcome }}.",
		action:  "Look at the store's server and at the network. store_failed: writes with a key are refused. bypassed: they run unprotected. store_full: give it room.",
	},
	{
		name: "SeawallStoreForgets", severity: "warning", wait: "5m",
		expr:    recent("seawall_idempotency_evictions_total", "", "seawall_name") + " + " + recent("seawall_idempotency_drops_total", "", "seawall_name") + " > 0",
		summary: "Store {{ $labels.seawall_name }} of {{ $labels.job }} is full and forgets responses before their retention is over.",
		action:  "Raise the bounds of the idempotent.Memory, shorten Retention, or use a database. A retry of a forgotten write runs again.",
	},
	{
		name: "SeawallOutcomeUnknown", severity: "critical", wait: "0s",
		expr:    happened("seawall_idempotency_requests_total", unknownOutcomes, "seawall_idempotency_outcome"),
		summary: "A write of {{ $labels.job }} failed after its effect had begun.",
		action:  "Find it in the log by its request id, look whether the effect happened, and resolve the record with a Resolver. Until then, retries get a 409.",
	},
	{
		name: "SeawallClaimLost", severity: "warning", wait: "0s",
		expr:    happened("seawall_idempotency_lost_claims_total", ""),
		summary: "A run of {{ $labels.job }} lost its claim: another process may have run the same write.",
		action:  "Look whether the process was paused, or its store was away, for longer than the lease. If handlers can run that long, set Lease higher.",
	},
	{
		name: "SeawallResponsesNotKept", severity: "warning", wait: "15m",
		expr:    recent("seawall_idempotency_requests_total", `seawall_idempotency_outcome="not_kept"`) + " > 0",
		summary: "{{ $labels.job }} does not keep responses of writes: they are too large or streamed, or the store has no room.",
		action:  "Raise MaxResponse, answer with less, or skip the route. Until then, a retry of such a write gets a 409 instead of its response.",
	},
}

// recent returns the rate of a counter over five minutes, summed by job and further labels.
func recent(metric, matchers string, by ...string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s[5m]))", labels(by), braces(metric, matchers))
}

// happened holds if a counter of rare events has changed within ten minutes. A series begins with
// its first event, which increase does not see.
func happened(metric, matchers string, by ...string) string {
	series := braces(metric, matchers)
	return fmt.Sprintf("sum by (%s) (increase(%s[10m])) > 0 or sum by (%[1]s) (%[2]s unless %[2]s offset 10m) > 0", labels(by), series)
}

func labels(by []string) string { return strings.Join(append([]string{"job"}, by...), ", ") }

func braces(metric, matchers string) string {
	if matchers == "" {
		return metric
	}
	return metric + "{" + matchers + "}"
}

// prometheus returns a file of rules.
func prometheus(alerts []alert) []byte {
	var b strings.Builder
	b.WriteString("# Made by the program in this folder: go generate ./dashboard\ngroups:\n  - name: seawall\n    rules:\n")
	for _, a := range alerts {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: %s\n        for: %s\n", a.name, quoted(a.expr), a.wait)
		fmt.Fprintf(&b, "        labels:\n          severity: %s\n", a.severity)
		fmt.Fprintf(&b, "        annotations:\n          summary: %s\n          description: %s\n", quoted(a.summary), quoted(a.action))
	}
	return []byte(b.String())
}

// quoted returns a string of YAML.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
