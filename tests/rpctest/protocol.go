package rpctest

import (
	"context"
	"crypto/sha256"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// KeyField is the field of a request's header, or of its metadata, that holds the key.
const KeyField = "Idempotency-Key"

// ReplayedField is set in the header of a response that comes from the store.
const ReplayedField = "Idempotent-Replayed"

// unary runs a unary call once for its key. It reports whether the response is a replay.
func unary(ctx context.Context, g *idempotent.Guard, principal, key, procedure string, request any, next func(context.Context) (proto.Message, error)) (resp proto.Message, replayed bool, err error) {
	fingerprint, err := fingerprintOf(procedure, request)
	if err != nil {
		return nil, false, err
	}
	call := idempotent.Call{Principal: principal, Key: key, Fingerprint: fingerprint, Codec: anyCodec{}}
	replayed = true
	resp, err = idempotent.Do(ctx, g, call, func(ctx context.Context) (proto.Message, error) {
		replayed = false
		return next(ctx)
	})
	return resp, replayed, err
}

// fingerprintOf tells calls apart by their procedure and their message. Deterministic bytes are
// the same within one version of the service, which is as long as a key is retried, as a rule.
func fingerprintOf(procedure string, request any) (idempotent.Fingerprint, error) {
	m, ok := request.(proto.Message)
	if !ok {
		return idempotent.Fingerprint{}, fmt.Errorf("rpctest: a request is a %T", request)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return idempotent.Fingerprint{}, err
	}
	return sha256.Sum256(append([]byte(procedure+"\x00"), b...)), nil
}

// anyCodec keeps a message with the name of its type, because an interceptor knows the type of a
// response only once it has one.
type anyCodec struct{}

func (anyCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("rpctest: a response is a %T", v)
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

// A status is what both protocols say of an error. Their codes have the same numbers.
type status struct {
	code    uint32
	message string
	details []protoadapt.MessageV1
}

// The codes of gRPC.
const (
	invalidArgument    = 3
	deadlineExceeded   = 4
	notFound           = 5
	alreadyExists      = 6
	permissionDenied   = 7
	resourceExhausted  = 8
	failedPrecondition = 9
	unimplemented      = 12
	internal           = 13
	unavailable        = 14
	unauthenticated    = 16
)

// statusOf maps an error with a code of package apierror. It reports false for any other error,
// which goes out as it is.
func statusOf(err error) (s status, ok bool) {
	if apierror.CodeOf(err) == "" {
		return s, false
	}
	e := apierror.From(err)
	s.message, s.code = e.Message(), codeOf(e)
	s.details = append(s.details, &errdetails.ErrorInfo{Reason: string(e.Code()), Domain: "seawall"})
	if d := e.RetryAfter(); d > 0 {
		s.details = append(s.details, &errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
	}
	return s, true
}

func codeOf(e *apierror.Error) uint32 {
	switch e.Code() {
	case apierror.CodeIdempotencyConflict:
		return alreadyExists
	case apierror.CodeIdempotencyInProgress: // may be retried as it is
		return unavailable
	case apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeIdempotencyResponseUnavailable: // may not
		return failedPrecondition
	}
	switch e.Status() {
	case 401:
		return unauthenticated
	case 403:
		return permissionDenied
	case 404:
		return notFound
	case 409, 412:
		return failedPrecondition
	case 429:
		return resourceExhausted
	case 501:
		return unimplemented
	case 502, 503:
		return unavailable
	case 504:
		return deadlineExceeded
	}
	if e.Status() < 500 {
		return invalidArgument
	}
	return internal
}
