package otelseawall

import (
	"context"

	"go.opentelemetry.io/otel/metric"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// Limiter reports how full a limiter is, under a name such as "api". The limiter is reported until
// the provider of the metrics is shut down. The numbers of limiters with the same name are added.
func (t *Telemetry) Limiter(name string, m *ratelimit.Memory) {
	series := t.newSeries(keyName)
	keys := t.gauge("seawall.ratelimit.keys", "{key}", "Keys that a limiter in memory holds.")
	evictions := t.total("seawall.ratelimit.evictions", "{key}", "Keys that a limiter in memory has forgotten because it was full.")
	refusals := t.total("seawall.ratelimit.refusals", "{request}", "Requests that a limiter in memory has refused because it was full.")
	t.observe(func(o metric.Observer) {
		stats, attrs := m.Stats(), series.option([]string{name})
		o.ObserveInt64(keys, int64(stats.Keys), attrs)
		o.ObserveInt64(evictions, stats.Evicted, attrs)
		o.ObserveInt64(refusals, stats.Refused, attrs)
	}, keys, evictions, refusals)
}

// Store reports how full a store is, under a name such as "api". The store is reported until the
// provider of the metrics is shut down. The numbers of stores with the same name are added.
func (t *Telemetry) Store(name string, m *idempotent.Memory) {
	series := t.newSeries(keyName)
	records := t.gauge("seawall.idempotency.records", "{record}", "Records that a store in memory holds.")
	size := t.gauge("seawall.idempotency.size", "By", "Bytes of the responses that a store in memory holds.")
	evictions := t.total("seawall.idempotency.evictions", "{record}", "Records that a store in memory has forgotten because it was full.")
	drops := t.total("seawall.idempotency.drops", "{response}", "Responses that a store in memory has dropped to make room.")
	t.observe(func(o metric.Observer) {
		stats, attrs := m.Stats(), series.option([]string{name})
		o.ObserveInt64(records, int64(stats.Records), attrs)
		o.ObserveInt64(size, stats.Bytes, attrs)
		o.ObserveInt64(evictions, stats.Evicted, attrs)
		o.ObserveInt64(drops, stats.Dropped, attrs)
	}, records, size, evictions, drops)
}

// gauge makes a number that goes up and down.
func (t *Telemetry) gauge(name, unit, description string) metric.Int64ObservableUpDownCounter {
	g, err := t.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	return g
}

// total makes a number that only goes up.
func (t *Telemetry) total(name, unit, description string) metric.Int64ObservableCounter {
	c, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	return c
}

// observe calls read whenever the metrics are collected.
func (t *Telemetry) observe(read func(metric.Observer), instruments ...metric.Observable) {
	_, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		read(o)
		return nil
	}, instruments...)
	handle(err)
}
