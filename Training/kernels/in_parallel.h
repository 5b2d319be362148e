// Work that is spread over threads, each of which gets a number and a range of its own.

#pragma once

#include <thread>
#include <vector>

// Calls work(thread, begin, end) in `threads` threads, the caller's among them, which share 0 … parts between them.
template <class Work>
void in_parallel(long parts, int threads, Work work) {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++) others.emplace_back(work, t, parts * t / threads, parts * (t + 1) / threads);
    work(0, 0, parts / threads);
    for (auto& other : others) other.join();
}
