package main

import (
	"fmt"
	"strings"
)

// row is a row of panels, from left to right.
type row struct {
	title  string
	panels []panel
}

// panel is a graph over time.
type panel struct {
	title   string
	purpose string // what it is for
	action  string // what to do then
	unit    string // a unit of Grafana
	queries []query
	red     *threshold // nil if no value is bad by itself
}

// query is a query of PromQL. The legend names its labels in double braces.
type query struct{ expr, legend string }

// threshold is where a value becomes bad. The zero value says that all values but zero are bad.
type threshold struct {
	value float64
	below bool // bad are the values below it, and not those above
}

// What an alert and a panel call too much.
const (
	tooManyDenied  = 0.2 // of the requests of a rule
	tooManyRetries = 1.2 // attempts per first attempt; the default budget allows little more than 1.1
)

// The outcomes of keyed requests that a store has caused, and of requests that a limiter has.
const (
	storeOutcomes   = `seawall_idempotency_outcome=~"store_failed|store_full|bypassed|unrecorded"`
	unknownOutcomes = `seawall_idempotency_outcome=~"unknown|outcome_unknown"`
	denied          = `seawall_ratelimit_outcome="denied",seawall_ratelimit_shadow=""`
	open            = `seawall_retry_circuit_state="open"`
)

var rows = []row{
	{"Server", []panel{
		{
			title:   "Errors by code",
			purpose: "Requests that were answered with an error.",
			action: "For `rate_limit_exceeded`, look at Denied share. For `service_unavailable` and `timeout`, look at Store failures. " +
				"For `api_error`, search the log: its records have the cause.",
			unit:    "reqps",
			queries: []query{{rate("seawall_server_errors_total", "", "seawall_error_code"), "{{seawall_error_code}}"}},
		},
		{
			title:   "Errors by route",
			purpose: "Shows whether one route fails or all of them do. A route that no pattern matched is empty.",
			action:  "If it is one route, look at its handler and what that calls. If it is all routes, look at the rows below.",
			unit:    "reqps",
			queries: []query{{
				"topk(10, " + rate("seawall_server_errors_total", "", "http_response_status_code", "http_route") + ")",
				"{{http_response_status_code}} {{http_route}}",
			}},
		},
		{
			title:   "Replays by route",
			purpose: "Writes that were answered with the response of an earlier request. Each is a duplicate that did not run.",
			action:  "Clients do not get their first responses in time. Look at the latency of the route and at the timeouts of its clients.",
			unit:    "reqps",
			queries: []query{{rate("seawall_server_replays_total", "", "http_route"), "{{http_route}}"}},
		},
	}},
	{"Limits", []panel{
		{
			title:   "Requests by rule and outcome",
			purpose: "What the rules did to the requests that they applied to.",
			action:  "`no_key` means that clients send no credentials. For `denied`, `bypassed` and `failed`, look at the next two panels.",
			unit:    "reqps",
			queries: []query{{
				rate("seawall_ratelimit_requests_total", "", "seawall_ratelimit_rule", "seawall_ratelimit_outcome"),
				"{{seawall_ratelimit_rule}} {{seawall_ratelimit_outcome}}",
			}},
		},
		{
			title:   "Denied share",
			purpose: "The part of a rule's requests that it refused, or would refuse in shadow mode.",
			action:  "Find the principal in the access log. If it is one, talk to its owner. If it is all of them, the limit is too low.",
			unit:    "percentunit",
			red:     &threshold{value: tooManyDenied},
			queries: []query{
				{
					share("seawall_ratelimit_requests_total", denied, "seawall_ratelimit_rule"),
					"{{seawall_ratelimit_rule}}",
				},
				{
					share("seawall_ratelimit_requests_total", `seawall_ratelimit_outcome="denied",seawall_ratelimit_shadow="true"`, "seawall_ratelimit_rule"),
					"{{seawall_ratelimit_rule}} (shadow)",
				},
			},
		},
		{
			title:   "Limiter failures",
			purpose: "Requests of a rule whose limiter failed, and keys for which the memory had no room.",
			action: "For a rule, look at the limiter's Redis. For refusals and evictions, look for a flood of invalid keys, " +
				"or raise MaxKeys.",
			unit: "reqps",
			red:  &threshold{},
			queries: []query{
				{rate("seawall_ratelimit_failures_total", "", "seawall_ratelimit_rule"), "{{seawall_ratelimit_rule}}"},
				{rate("seawall_ratelimit_refusals_total", "", "seawall_name"), "{{seawall_name}} refusals"},
				{rate("seawall_ratelimit_evictions_total", "", "seawall_name"), "{{seawall_name}} evictions"},
			},
		},
		{
			title:   "Keys in memory",
			purpose: "Keys that the limiters in memory hold.",
			action:  "A steep rise is a flood of keys that someone made up. Limit by address before authentication.",
			unit:    "short",
			queries: []query{{gauge("sum", "seawall_ratelimit_keys", "", "seawall_name"), "{{seawall_name}}"}},
		},
	}},
	{"Idempotency keys", []panel{
		{
			title:   "Keyed requests by outcome",
			purpose: "How requests with an Idempotency-Key were answered.",
			action: "`in_progress` means that first requests run longer than their duplicates wait, `conflict` that a client uses a key twice, " +
				"and `not_kept` that a response is too large or streamed. For the failures, look at Store failures.",
			unit:    "reqps",
			queries: []query{{rate("seawall_idempotency_requests_total", "", "seawall_idempotency_outcome"), "{{seawall_idempotency_outcome}}"}},
		},
		{
			title:   "Waiting time",
			purpose: "Time until a keyed request ran or was answered: the store, and for duplicates the first request.",
			action:  "If the p50 rises too, the store is slow. If only the p99 rises, duplicates wait for their first requests.",
			unit:    "s",
			queries: []query{
				{quantile("0.5", "seawall_idempotency_wait_seconds"), "p50"},
				{quantile("0.99", "seawall_idempotency_wait_seconds"), "p99"},
			},
		},
		{
			title:   "Store failures",
			purpose: "Keyed requests that the store failed, runs with an unknown outcome, and runs that were taken over.",
			action: "Look at the store's server and at the network. If the store is full, give it room. If an outcome is unknown, find the write in the log " +
				"and look whether its effect happened. A claim is lost if the store was away, or the process paused, for longer than the lease.",
			unit: "reqps",
			red:  &threshold{},
			queries: []query{
				{rate("seawall_idempotency_requests_total", storeOutcomes, "seawall_idempotency_outcome"), "{{seawall_idempotency_outcome}}"},
				{rate("seawall_idempotency_requests_total", unknownOutcomes, "seawall_idempotency_outcome"), "{{seawall_idempotency_outcome}}"},
				{rate("seawall_idempotency_lost_claims_total", "", "job"), "{{job}} lost claim"},
			},
		},
		{
			title:   "Records in memory",
			purpose: "Records that the stores in memory hold, and what they have forgotten because they were full.",
			action:  "A retry of a write that was forgotten runs again. If there are evictions or drops, raise the store's bounds, or use a database.",
			unit:    "short",
			queries: []query{
				{gauge("sum", "seawall_idempotency_records", "", "seawall_name"), "{{seawall_name}} records"},
				{gauge("sum", "seawall_idempotency_size_bytes", "", "seawall_name") + " / 1024", "{{seawall_name}} KiB"},
				{rate("seawall_idempotency_evictions_total", "", "seawall_name"), "{{seawall_name}} evictions/s"},
				{rate("seawall_idempotency_drops_total", "", "seawall_name"), "{{seawall_name}} drops/s"},
			},
		},
	}},
	{"Retries", []panel{
		{
			title:   "Calls by reason",
			purpose: "Why calls ended, and how many retries there were.",
			action:  "`budget-exhausted` and `circuit-open` protect a server that fails: look there. `deadline-too-soon` means that callers have short timeouts.",
			unit:    "reqps",
			queries: []query{
				{rate("seawall_retry_calls_total", "", "seawall_retry_reason"), "{{seawall_retry_reason}}"},
				{rate("seawall_retry_retries_total", "", "job"), "{{job}} retries"},
			},
		},
		{
			title:   "Amplification",
			purpose: "Attempts per first attempt: how much load the retries add. With the default budget it is at most little more than 1.1, except for a moment.",
			action:  "A client retries without a budget, or with one that is too large. It makes an outage longer: give it the default budget.",
			unit:    "none",
			red:     &threshold{value: tooManyRetries},
			queries: []query{{
				amplification(rate("seawall_retry_attempts_total", "", "seawall_retry_group"), rate("seawall_retry_retries_total", "", "seawall_retry_group")),
				"{{seawall_retry_group}}",
			}},
		},
		{
			title:   "Budget tokens",
			purpose: "Retries that the emptiest budget of a group still allows. Under 1, a call that fails is not retried.",
			action:  "The server of this group fails more than a tenth of its requests. Look at Failed attempts, then at that server.",
			unit:    "short",
			red:     &threshold{value: 1, below: true},
			queries: []query{{gauge("min", "seawall_retry_budget_tokens", "", "seawall_retry_group"), "{{seawall_retry_group}}"}},
		},
		{
			title:   "Open circuits",
			purpose: "Processes whose circuit is open or half-open, and how often circuits opened, also after a probe.",
			action:  "Nearly all attempts failed. Look at that server. The circuit closes by itself within a second after the server works again.",
			unit:    "short",
			red:     &threshold{},
			queries: []query{
				{gauge("sum", "seawall_retry_circuits", `seawall_retry_circuit_state!="closed"`, "seawall_retry_group"), "{{seawall_retry_group}}"},
				{rate("seawall_retry_circuit_changes_total", open, "seawall_retry_group"), "{{seawall_retry_group}} openings/s"},
			},
		},
		{
			title:   "Failed attempts",
			purpose: "Attempts that failed, by their status or the type of their error.",
			action:  "With 429, the client is over a limit. With 5xx, look at the server. With another type, no response came: look at the network.",
			unit:    "reqps",
			queries: []query{{rate("seawall_retry_attempts_total", `error_type!=""`, "seawall_retry_group", "error_type"), "{{seawall_retry_group}} {{error_type}}"}},
		},
		{
			title:   "Delay and held time (p99)",
			purpose: "Time between an attempt and the next, and the time that Pace and HoldHost held attempts back.",
			action:  "The server asks for the wait (`retry_after`), or holds back others with the same credentials: the client is over a limit, or the server is overloaded.",
			unit:    "s",
			queries: []query{
				{quantile("0.99", "seawall_retry_delay_seconds", "seawall_retry_delay_source"), "{{seawall_retry_delay_source}}"},
				{quantile("0.99", "seawall_retry_held_seconds", "seawall_retry_group"), "{{seawall_retry_group}} held"},
			},
		},
	}},
}

// selector returns the series of a metric that the variables of the dashboard choose.
func selector(metric, matchers string) string {
	if matchers != "" {
		matchers = "," + matchers
	}
	return fmt.Sprintf(`%s{job=~"$job"%s}`, metric, matchers)
}

// rate returns the rate of a counter, summed by labels.
func rate(metric, matchers string, by ...string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s[$__rate_interval]))", strings.Join(by, ", "), selector(metric, matchers))
}

// share returns the part of a counter's rate that some matchers choose.
func share(metric, matchers string, by ...string) string {
	return rate(metric, matchers, by...) + " / " + rate(metric, "", by...)
}

// amplification returns the attempts per first attempt. The number of calls would not do: a call
// counts when it ends, which may be long after its attempts.
func amplification(attempts, retries string) string {
	return fmt.Sprintf("%[1]s / %[2]s", attempts, firstAttempts(attempts, retries))
}

// firstAttempts returns the attempts that are no retries. The metric of retries begins with the
// first one.
func firstAttempts(attempts, retries string) string {
	return fmt.Sprintf("(%[1]s - (%[2]s or %[1]s * 0))", attempts, retries)
}

// gauge returns a gauge, aggregated by labels.
func gauge(aggregation, metric, matchers string, by ...string) string {
	return fmt.Sprintf("%s by (%s) (%s)", aggregation, strings.Join(by, ", "), selector(metric, matchers))
}

// quantile returns a quantile of a histogram, by labels.
func quantile(q, metric string, by ...string) string {
	return fmt.Sprintf("histogram_quantile(%s, %s)", q, rate(metric+"_bucket", "", append([]string{"le"}, by...)...))
}
