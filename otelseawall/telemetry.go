package otelseawall

import (
	"cmp"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Options are the options of New. The zero value is the default.
type Options struct {
	// MeterProvider makes the instruments. If nil, it is the global one.
	MeterProvider metric.MeterProvider

	// TracerProvider makes the spans of a client. If nil, it is the global one.
	TracerProvider trace.TracerProvider

	// Propagator adds the context of an attempt's span to the header of its request. If nil, it is
	// the global one.
	Propagator propagation.TextMapPropagator

	// MaxValues is the largest number of values of an attribute of a metric. Further values become
	// _OTHER. If zero, it is 100.
	MaxValues int
}

// Telemetry reports what Seawall does. It is safe for concurrent use.
type Telemetry struct {
	meter      metric.Meter
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator // nil means the global one
	maxValues  int
	tracers    func() trace.TracerProvider
	noSpans    atomic.Pointer[trace.TracerProvider] // what tracers returned when a span was not valid

	server      serverInstruments
	ratelimit   ratelimitInstruments
	idempotency idempotencyInstruments
	retry       retryInstruments

	mu      sync.Mutex
	clients []client
}

// scope is the name of the instrumentation scope.
const scope = "github.com/seawall-go/seawall/otelseawall"

// New returns a Telemetry. If o is nil, the defaults apply. The global providers may be set later.
// New panics if MaxValues is negative.
func New(o *Options) *Telemetry {
	if o == nil {
		o = &Options{}
	}
	if o.MaxValues < 0 {
		panic("otelseawall: Options.MaxValues is negative")
	}
	meters, own := orElse(o.MeterProvider, otel.GetMeterProvider), o.TracerProvider
	tracers := func() trace.TracerProvider { return orElse(own, otel.GetTracerProvider) }
	t := &Telemetry{
		meter:      meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)),
		tracer:     tracers().Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		tracers:    tracers,
		propagator: o.Propagator,
		maxValues:  cmp.Or(o.MaxValues, 100),
	}
	t.server = t.newServerInstruments()
	t.ratelimit = t.newRatelimitInstruments()
	t.idempotency = t.newIdempotencyInstruments()
	t.retry = t.newRetryInstruments()
	t.observeClients()
	return t
}

// orElse returns v, or what byDefault returns if v is nil.
func orElse[T comparable](v T, byDefault func() T) T {
	var none T
	if v == none {
		return byDefault()
	}
	return v
}
