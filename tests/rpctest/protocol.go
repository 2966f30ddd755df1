package rpctest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

const (
	// KeyField is the field with the key in the header or the metadata of a request.
	KeyField = "Idempotency-Key"
	// ReplayedField is a field in the header of a response that is a replay.
	ReplayedField = "Idempotent-Replayed"
)

// keyIn returns the key in the values of KeyField. It is empty if there are none.
func keyIn(values []string) (key string, err error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > 255 {
		return "", apierror.ParameterInvalid(KeyField, "must be one value of 1 to 255 bytes")
	}
	return values[0], nil
}

// unaryCall is a call with a key.
type unaryCall struct {
	principal, key, procedure string
	request                   any
}

// do runs the call once for its key. It reports whether the response is a replay.
func (c unaryCall) do(ctx context.Context, g *idempotent.Guard, run func(context.Context) (proto.Message, error)) (resp proto.Message, replayed bool, err error) {
	fingerprint, err := c.fingerprint()
	if err != nil {
		return nil, false, err
	}
	call := idempotent.Call{Principal: c.principal, Key: c.key, Fingerprint: fingerprint, Codec: anyCodec{}}
	replayed = true
	resp, err = idempotent.Do(ctx, g, call, func(ctx context.Context) (proto.Message, error) {
		replayed = false
		return run(ctx)
	})
	return resp, replayed, err
}

// fingerprint returns a hash of the procedure and the message. The deterministic encoding may
// change with a new version of the protobuf module: a retry across that deployment conflicts.
func (c unaryCall) fingerprint() (idempotent.Fingerprint, error) {
	m, ok := c.request.(proto.Message)
	if !ok {
		return idempotent.Fingerprint{}, fmt.Errorf("rpctest: the request is a %T, not a proto.Message", c.request)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return idempotent.Fingerprint{}, err
	}
	return sha256.Sum256(append([]byte(c.procedure+"\x00"), b...)), nil
}

// anyCodec records a message with the name of its type, because an interceptor does not know the
// type of a response before the first run.
type anyCodec struct{}

func (anyCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("rpctest: the response is a %T, not a proto.Message", v)
	}
	a, err := anypb.New(m)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(a)
}

func (anyCodec) Unmarshal(data []byte, v any) error {
	var a anypb.Any
	if err := proto.Unmarshal(data, &a); err != nil {
		return err
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		return err
	}
	*v.(*proto.Message) = m
	return nil
}

// status is an error for both protocols, whose codes have the same numbers.
type status struct {
	code    codes.Code
	message string
	details []proto.Message
}

// statusOf returns the status to send for the error of a call, and logs the error if it is the
// service's fault.
func statusOf(ctx context.Context, l *slog.Logger, err error) status {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return status{code: codes.Canceled, message: "The call was canceled."}
	}
	e := apierror.From(err)
	if e.Status() >= http.StatusInternalServerError {
		l.ErrorContext(ctx, "rpc failed", "request_id", apierror.RequestIDFrom(ctx), "code", e.Code(), "error", err)
	}
	return statusFor(e)
}

func statusFor(e *apierror.Error) status {
	s := status{code: codeOf(e), message: e.Message()}
	s.details = append(s.details, &errdetails.ErrorInfo{Reason: string(e.Code()), Domain: "seawall"})
	if fields := fieldsOf(e); len(fields) > 0 {
		s.details = append(s.details, &errdetails.BadRequest{FieldViolations: fields})
	}
	if d := e.RetryAfter(); d > 0 {
		s.details = append(s.details, &errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
	}
	return s
}

// fieldsOf returns the parameters at fault.
func fieldsOf(e *apierror.Error) (list []*errdetails.BadRequest_FieldViolation) {
	for _, f := range e.Fields() {
		list = append(list, &errdetails.BadRequest_FieldViolation{Field: f.Param, Description: f.Message, Reason: string(f.Code)})
	}
	if len(list) == 0 && e.Param() != "" {
		list = append(list, &errdetails.BadRequest_FieldViolation{Field: e.Param(), Description: e.Message(), Reason: string(e.Code())})
	}
	return list
}

func codeOf(e *apierror.Error) codes.Code {
	switch e.Code() {
	case apierror.CodeIdempotencyConflict:
		return codes.AlreadyExists
	case apierror.CodeIdempotencyInProgress: // a client may retry
		return codes.Unavailable
	case apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeIdempotencyResponseUnavailable: // a client must not retry
		return codes.FailedPrecondition
	}
	switch e.Status() {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return codes.FailedPrecondition
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusNotImplemented:
		return codes.Unimplemented
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	}
	if e.Status() < 500 {
		return codes.InvalidArgument
	}
	return codes.Internal
}
