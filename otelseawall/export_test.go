package otelseawall

// KnownSeries returns how many combinations of attributes are kept for seawall.ratelimit.requests.
func KnownSeries(t *Telemetry) int { return len(t.ratelimit.requests.known) }
