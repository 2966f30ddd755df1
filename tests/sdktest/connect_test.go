package sdktest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

func TestStreamOfConnectIsRetriedIfItIsRecorded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		record   int64
		requests int
	}{
		{"not recorded", 0, 1},
		{"recorded", 1 << 10, 3},
		{"longer than the record", 4, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var bodies []string
				server := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					bodies = append(bodies, string(body))
					busy(w, r)
				}))
				defer server.Close()
				client := connect.NewClient[wrapperspb.StringValue, emptypb.Empty](&http.Client{Transport: &retry.Transport{
					Base:   server.Transport(),
					Policy: &retry.Policy{RecordBody: tt.record},
					Logger: slog.New(slog.DiscardHandler),
				}}, server.URL+"/service/Import")

				stream := client.CallClientStream(t.Context())
				require.NoError(t, stream.Send(wrapperspb.String("Ada")))
				require.NoError(t, stream.Send(wrapperspb.String("Grace")))
				_, err := stream.CloseAndReceive()

				require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
				require.Len(t, bodies, tt.requests)
				for _, body := range bodies {
					require.Equal(t, bodies[0], body)
					require.Contains(t, body, "Grace")
				}
			})
		})
	}
}

// An error of the gRPC protocols has the status 200, so the Transport does not retry it.
func TestErrorInTrailersIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		protocol connect.ClientOption
		requests int
	}{
		{"connect", connect.WithProtoJSON(), 3},
		{"gRPC", connect.WithGRPC(), 1},
		{"gRPC-Web", connect.WithGRPCWeb(), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				server := memhttp.NewHTTP2(connect.NewUnaryHandler("/service/Create",
					func(context.Context, *connect.Request[wrapperspb.StringValue]) (*connect.Response[emptypb.Empty], error) {
						requests++
						return nil, connect.NewError(connect.CodeUnavailable, errors.New("busy"))
					}))
				defer server.Close()
				client := connect.NewClient[wrapperspb.StringValue, emptypb.Empty](&http.Client{Transport: &retry.Transport{
					Base:   server.Transport(),
					Logger: slog.New(slog.DiscardHandler),
				}}, server.URL+"/service/Create", tt.protocol)

				_, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("Ada")))

				require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
				require.Equal(t, tt.requests, requests)
			})
		})
	}
}
