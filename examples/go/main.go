// Limits requests by tenant and runs a job under a lock: one limit, one lock, whatever language the other services are of.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"riskscale-example/riskscale"
)

var client *riskscale.Client

func work(w http.ResponseWriter, r *http.Request) error {
	key, err := riskscale.Key("", r.PathValue("tenant"), "rate", "api", "60s", "gcra")
	if err != nil {
		return err
	}
	limit := riskscale.RateGcra{Count: 10, WindowUs: 60_000_000, Burst: 10, Charge: 1}
	limit.Items = []riskscale.RateGcraItem{{Key: key, Cost: 1}}
	reply, err := client.RateGcra(r.Context(), limit)
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
func alone(w http.ResponseWriter, r *http.Request) error {
	var keys [3]string
	for i, role := range []string{"lock", "queue", "wait"} {
		var err error
		if keys[i], err = riskscale.Key("", r.PathValue("name"), role); err != nil {
			return err
		}
	}
	lock := riskscale.LockAcquire{LockKey: keys[0], QueueKey: keys[1], WaitKey: keys[2], Owner: rand.Text(), TtlUs: 30_000_000, Metadata: "go"}
	waiting, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	lease, err := client.LockAcquire(waiting, lock)
	for err == nil && lease.Acquired == 0 && waiting.Err() == nil {
		time.Sleep(time.Duration(lease.WaitUs) * time.Microsecond) // a poller is told when to look again
		lease, err = client.LockAcquire(waiting, lock)
	}
	if lease.Acquired == 1 {
		time.Sleep(20 * time.Millisecond) // the job
	}
	release := riskscale.LockRelease{LockKey: keys[0], QueueKey: keys[1], WaitKey: keys[2], Owner: lock.Owner}
	end, failed := client.LockRelease(context.WithoutCancel(r.Context()), release) // also the place of one who gives up
	if lease.Acquired == 0 && (err == nil || waiting.Err() != nil) {
		return answer(w, 503, map[string]any{"error": "busy"})
	} else if err = errors.Join(err, failed); err != nil {
		return err
	}
	return answer(w, 200, map[string]any{"fence": lease.Fence, "from_us": lease.AtUs, "to_us": end.AtUs})
}

func answer(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(body)
}

func handle(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
	http.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			http.Error(w, err.Error(), 500)
		}
	})
}

func main() {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		panic(err)
	}
	rdb := redis.NewClient(options)
	client = riskscale.New(func(ctx context.Context, words ...any) (any, error) { return rdb.Do(ctx, words...).Result() })
	handle("/work/{tenant}", work)
	handle("/jobs/{name}", alone)
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	fmt.Println("listening on", listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
