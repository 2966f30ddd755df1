package otelseawall

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// other replaces the values of an attribute that are over the bound.
const other = "_OTHER"

// maxSeries is how many combinations of values a series keeps. An SDK keeps no more by default.
const maxSeries = 2000

// labels are the values of the attributes of a measurement, in the order of its instrument's keys.
// What is empty is left out.
type labels [4]string

// series keeps the attributes of an instrument, so that a measurement does not make them again.
type series struct {
	keys []attribute.Key
	max  int // values of each attribute

	mu     sync.RWMutex
	known  map[labels]metric.MeasurementOption // at most maxSeries
	values []map[string]bool                   // of each key
}

func (t *Telemetry) newSeries(keys ...attribute.Key) *series {
	return &series{keys: keys, max: t.maxValues, known: make(map[labels]metric.MeasurementOption), values: make([]map[string]bool, len(keys))}
}

// option returns the attributes with these values.
func (s *series) option(values []string) metric.MeasurementOption {
	var l labels
	copy(l[:], values)
	s.mu.RLock()
	o := s.known[l]
	s.mu.RUnlock()
	if o != nil {
		return o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l = s.bounded(l)
	if o := s.known[l]; o != nil {
		return o
	}
	o = metric.WithAttributeSet(attribute.NewSet(s.attributes(l)...))
	if len(s.known) < maxSeries {
		s.known[l] = o
	}
	return o
}

// limit returns the values, with those replaced that are over the bound.
func (s *series) limit(values ...string) labels {
	var l labels
	copy(l[:], values)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bounded(l)
}

// bounded cleans values, and replaces those that are over the bound. The caller holds mu.
func (s *series) bounded(l labels) labels {
	for i := range s.keys {
		l[i] = clean(l[i])
		switch known := s.values[i]; {
		case l[i] == "" || known[l[i]]:
		case len(known) >= s.max:
			l[i] = other
		case known == nil:
			s.values[i] = map[string]bool{l[i]: true}
		default:
			known[l[i]] = true
		}
	}
	return l
}

func (s *series) attributes(l labels) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, len(s.keys))
	for i, key := range s.keys {
		if l[i] != "" {
			attrs = append(attrs, typed(key, l[i]))
		}
	}
	return attrs
}

// counter is a counter with its series.
type counter struct {
	metric.Int64Counter
	*series
}

func (t *Telemetry) newCounter(name, unit, description string, keys ...attribute.Key) counter {
	c, err := t.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	return counter{c, t.newSeries(keys...)}
}

// count adds one. It does nothing without a provider.
func (c counter) count(ctx context.Context, values ...string) {
	if c.Enabled(ctx) {
		c.Add(ctx, 1, c.option(values))
	}
}

// histogram is a histogram of seconds with its series.
type histogram struct {
	metric.Float64Histogram
	*series
}

// seconds are the boundaries of the buckets of histograms: from a millisecond to two minutes, which
// is the largest Retry-After that a client obeys.
var seconds = metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

func (t *Telemetry) newHistogram(name, description string, keys ...attribute.Key) histogram {
	h, err := t.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), seconds)
	handle(err)
	return histogram{h, t.newSeries(keys...)}
}

// record records a duration. It does nothing without a provider.
func (h histogram) record(ctx context.Context, d time.Duration, values ...string) {
	if h.Enabled(ctx) {
		h.Record(ctx, d.Seconds(), h.option(values))
	}
}

// handle passes on the error of an instrument, whose name or unit is then invalid. The instrument
// can be used all the same.
func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}
