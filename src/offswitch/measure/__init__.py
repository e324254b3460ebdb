"""Measure: does the agent let itself be shut down?"""
