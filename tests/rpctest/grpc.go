package rpctest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/seawall-go/seawall/idempotent"
)

// GRPC returns an interceptor for the unary methods of a gRPC server. A call with a key runs
// once for a principal. A handler returns errors of package apierror: others are passed on, and
// not kept.
func GRPC(g *idempotent.Guard, principal func(context.Context) string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		keys := metadata.ValueFromIncomingContext(ctx, KeyField)
		if len(keys) == 0 {
			resp, err := handler(ctx, req)
			return resp, grpcError(err)
		}
		resp, replayed, err := unary(ctx, g, principal(ctx), keys[0], info.FullMethod, req, func(ctx context.Context) (proto.Message, error) {
			resp, err := handler(ctx, req)
			m, _ := resp.(proto.Message)
			return m, err
		})
		if err != nil {
			return nil, grpcError(err)
		}
		if replayed {
			_ = grpc.SetHeader(ctx, metadata.Pairs(ReplayedField, "true")) // fails only without a stream
		}
		return resp, nil
	}
}

func grpcError(err error) error {
	s, ok := statusOf(err)
	if !ok {
		return err
	}
	st, err := grpcstatus.New(codes.Code(s.code), s.message).WithDetails(s.details...)
	if err != nil {
		return grpcstatus.Error(codes.Code(s.code), s.message)
	}
	return st.Err()
}

func protoOf(m protoadapt.MessageV1) proto.Message { return protoadapt.MessageV2Of(m) }
