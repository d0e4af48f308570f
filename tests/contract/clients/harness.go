// Calls what each line of standard input names, {"method", "call"}, and prints a line of what the client said.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
	"riskscale-example/riskscale"
)

func run(client *riskscale.Client, method string, call json.RawMessage) (any, error) {
	ctx := context.Background()
	switch method {
	case "load":
		return nil, client.Load(ctx)
	case "key":
		var parts []string
		if err := json.Unmarshal(call, &parts); err != nil {
			return nil, err
		}
		return riskscale.Key(parts[0], parts[1], parts[2:]...)
	}
	function := reflect.ValueOf(client).MethodByName(strings.ToUpper(method[:1]) + method[1:])
	argument := reflect.New(function.Type().In(1))
	if err := json.Unmarshal(call, argument.Interface()); err != nil {
		return nil, err
	}
	said := function.Call([]reflect.Value{reflect.ValueOf(ctx), argument.Elem()})
	err, _ := said[1].Interface().(error)
	return said[0].Interface(), err
}

func main() {
	options, err := redis.ParseURL(os.Args[1])
	if err != nil {
		panic(err)
	}
	rdb := redis.NewClient(options)
	client := riskscale.New(func(ctx context.Context, words ...any) (any, error) { return rdb.Do(ctx, words...).Result() })
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var line struct {
			Method string
			Call   json.RawMessage
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			panic(err)
		}
		reply, err := run(client, line.Method, line.Call)
		answer := map[string]any{"reply": reply}
		var mistake *riskscale.Error
		if errors.As(err, &mistake) {
			answer = map[string]any{"error": map[string]string{"word": mistake.Word, "argument": mistake.Argument}}
		} else if err != nil {
			panic(err)
		}
		if err := out.Encode(answer); err != nil {
			panic(err)
		}
	}
}
