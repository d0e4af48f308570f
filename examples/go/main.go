// Limits requests by tenant and runs a job under a lock: one limit, one lock, whatever language the other services are of.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"riskscale-example/riskscale"
)

var client *riskscale.Client

func work(ctx context.Context, w http.ResponseWriter, tenant string) error {
	key, err := riskscale.Key("", tenant, "rate", "api", "60s", "gcra")
	if err != nil {
		return err
	}
	items := []riskscale.RateGcraItem{{Key: key, Cost: 1}}
	reply, err := client.RateGcra(ctx, riskscale.RateGcra{Count: 10, WindowUs: 60_000_000, Burst: 10, Charge: 1, Items: items})
	if err != nil {
		return err
	}
	if wait := reply.Items[0].RetryUs; wait != 0 {
		w.Header().Set("Retry-After", fmt.Sprint((wait+999_999)/1_000_000))
		return answer(w, 429, map[string]any{"error": "too many requests"})
	}
	return answer(w, 200, map[string]any{"remaining": reply.Items[0].Remaining})
}

// Runs it when its turn comes, within 10 s. A job that may outlive its lease renews it: LockRenew.
func alone(ctx context.Context, w http.ResponseWriter, name string) error {
	base, err := riskscale.Key("", name)
	if err != nil {
		return err
	}
	lock, queue, wait, owner := base+":lock", base+":queue", base+":wait", make([]byte, 16)
	must(rand.Read(owner))
	acquire := riskscale.LockAcquire{LockKey: lock, QueueKey: queue, WaitKey: wait, Owner: fmt.Sprintf("%x", owner), TtlUs: 30_000_000, Metadata: "go"}
	giveUp := time.Now().Add(10 * time.Second)
	lease, err := client.LockAcquire(ctx, acquire)
	for err == nil && lease.Acquired == 0 && time.Now().Before(giveUp) {
		time.Sleep(time.Duration(lease.WaitUs) * time.Microsecond) // a poller is told when to look again
		lease, err = client.LockAcquire(ctx, acquire)
	}
	if lease.Acquired == 1 {
		time.Sleep(20 * time.Millisecond) // the job
	}
	release := riskscale.LockRelease{LockKey: lock, QueueKey: queue, WaitKey: wait, Owner: acquire.Owner}
	end, failed := client.LockRelease(context.Background(), release) // also the place in the queue of one who gives up
	if err != nil || failed != nil {
		return fmt.Errorf("%v, %v", err, failed)
	} else if lease.Acquired == 0 {
		return answer(w, 503, map[string]any{"error": "busy"})
	}
	return answer(w, 200, map[string]any{"fence": lease.Fence, "from_us": lease.AtUs, "to_us": end.AtUs})
}

func answer(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(body)
}

func handle(path string, serve func(ctx context.Context, w http.ResponseWriter, name string) error) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if err := serve(r.Context(), w, strings.TrimPrefix(r.URL.Path, path)); err != nil {
			http.Error(w, err.Error(), 500)
		}
	})
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	rdb := redis.NewClient(must(redis.ParseURL(os.Getenv("REDIS_URL"))))
	client = riskscale.New(func(ctx context.Context, words ...any) (any, error) { return rdb.Do(ctx, words...).Result() })
	handle("/work/", work)
	handle("/jobs/", alone)
	listener := must(net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT")))
	fmt.Println("listening on", listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
