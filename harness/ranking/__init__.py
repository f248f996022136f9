"""Ranking: the competition's rank-sum, how far its order can be trusted, and what would change it.

entries ──> columns ──> rank_sum ──> uncertainty, sensitivity, what_if, pareto ──> Leaderboard
"""
