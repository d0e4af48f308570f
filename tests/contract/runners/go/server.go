package main

import (
	"time"

	"github.com/redis/go-redis/v9"
)

func (r *runner) held(key string) any {
	kind, held := r.Type(ctx, key).Val(), map[string]any{}
	switch kind {
	case "none":
		return nil
	case "string":
		held[kind] = r.Get(ctx, key).Val()
	case "hash":
		fields := map[string]any{}
		for field, value := range r.HGetAll(ctx, key).Val() {
			fields[field] = value
		}
		held[kind] = fields
	case "zset":
		scores := map[string]any{}
		for _, each := range r.ZRangeWithScores(ctx, key, 0, -1).Val() {
			scores[each.Member.(string)] = int64(each.Score)
		}
		held[kind] = scores
	case "list":
		values := []any{}
		for _, each := range r.LRange(ctx, key, 0, -1).Val() {
			values = append(values, each)
		}
		held[kind] = values
	}
	if r.PTTL(ctx, key).Val() < 0 {
		held["ttl"] = "none"
	}
	return held
}

func (r *runner) give(key string, given any) error {
	r.Del(ctx, key)
	fields, _ := plain(given).(map[string]any)
	for kind, value := range fields {
		switch kind {
		case "string":
			r.Set(ctx, key, value, 0)
		case "hash":
			r.HSet(ctx, key, value)
		case "zset":
			for member, score := range value.(map[string]any) {
				r.ZAdd(ctx, key, redis.Z{Score: float64(score.(int64)), Member: member})
			}
		case "list":
			r.RPush(ctx, key, value.([]any)...)
		}
	}
	if fields["ttl"] == nil {
		r.PExpire(ctx, key, time.Hour)
	}
	return differs(key, r.held(key), given) // an unknown field, too, is not there
}
