package rpctest

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/seawall-go/seawall/idempotent"
)

// GRPC returns an interceptor for the unary methods of a gRPC server. A call with a key runs once
// for its principal. A retry gets the message of the first response.
//
// Handlers return errors of package apierror, or of gRPC's package status, which are not
// recorded. The client gets no text of any other error: it is logged to l, and sent as internal.
// Do not return an error that you have received from another gRPC service: it is one of package
// status, too, so the client would get its text.
func GRPC(g *idempotent.Guard, principal func(context.Context) string, l *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		key, err := keyIn(metadata.ValueFromIncomingContext(ctx, KeyField))
		if err != nil {
			return nil, grpcError(ctx, l, err)
		}
		if key == "" {
			resp, err := handler(ctx, req)
			return resp, grpcError(ctx, l, err)
		}
		call := unaryCall{principal(ctx), key, info.FullMethod, req}
		resp, replayed, err := call.do(ctx, g, func(ctx context.Context) (proto.Message, error) {
			resp, err := handler(ctx, req)
			m, _ := resp.(proto.Message)
			return m, err
		})
		if err != nil {
			return nil, grpcError(ctx, l, err)
		}
		if replayed {
			_ = grpc.SetHeader(ctx, metadata.Pairs(ReplayedField, "true")) // fails only outside of a call
		}
		return resp, nil
	}
}

// grpcError returns the error to send for err. gRPC would send the text of what wraps a status.
func grpcError(ctx context.Context, l *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	var chosen interface{ GRPCStatus() *grpcstatus.Status }
	if errors.As(err, &chosen) {
		return chosen.GRPCStatus().Err()
	}
	s := statusOf(ctx, l, err)
	st := grpcstatus.New(s.code, s.message)
	for _, d := range s.details {
		if with, err := st.WithDetails(protoadapt.MessageV1Of(d)); err == nil {
			st = with
		}
	}
	return st.Err()
}
