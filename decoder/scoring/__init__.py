"""Scoring a decoder: is the decoded region what the features say?"""
